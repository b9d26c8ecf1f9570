#!/bin/sh
# Runs a CUDA compile command and keeps what ptxas says about each kernel, its registers and local
# memory, beside the object, as OBJECT.resources. A launcher: see CMAKE_CUDA_COMPILER_LAUNCHER.
object=
previous=
for argument in "$@"; do
  if [ "$previous" = -o ]; then object=$argument; fi
  previous=$argument
done
case $object in
  *.o) ;;
  *) exec "$@" ;;
esac

"$@" -Xptxas -v 2>"$object.messages"
status=$?
reported='^ptxas info|^ +[0-9]+ bytes (stack frame|cumulative stack)'
grep -E "$reported" "$object.messages" >"$object.resources"
grep -vE "$reported" "$object.messages" >&2
rm -f "$object.messages"
exit $status
