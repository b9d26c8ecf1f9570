#!/usr/bin/env bash
# The comparison in the README: plans schedules, trains adapters by every recipe on the bundled
# model, and evaluates all of them on its prompts.txt, none of which is planned for or trained on.
#
#   benchmarks/recipes/compare.sh OUT [PICTURES]
#
# OUT keeps plans, adapters and the evaluation; what is there already is not made again. PICTURES is
# the folder that benchmarks/peers/picture_set.py writes: with it retrieval accuracy is measured, and
# chord-cfg is trained on all of its labels but those of prompts.txt as well.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
glance=${GLANCE:-$here/../../glance}
out=$1 pictures=${2:+$(realpath "$2")}
mkdir -p "$out"
cd "$out"

# One sample: a picture of the base model's own, which serves as well as a photograph.
caption="red apple"
if [[ ! -e sample.png ]]; then
  "$glance" generate "$caption" --preset none --steps 50 --cfg 3.5 -o sample.png
fi
for n in 16 128; do head -n "$n" "$here/captions.txt" >"captions-$n.txt"; done

plan() { # N [OPTION...]: a schedule of N steps
  local file=plan-$1${3:+-$3}.txt
  if [[ -e $file ]]; then return; fi
  # shellcheck disable=SC2086 # no option is an empty list
  "$glance" plan --steps "$1" --cfg 3.5 --prompts captions-16.txt --seed 5000 ${2:-} -o "$file"
}
for n in 2 3 4 6 8 10; do plan "$n"; done
plan 4 --plain-cfg plain

uniform() { # N SLOW FILE: the base schedule's own sigmas, as steps of the two phases
  awk -v n="$1" -v slow="$2" 'BEGIN {
    mu = exp(0.459375)
    for (i = 0; i < n; i++) {
      s = n == 1 ? 1 : 1 + i * (1 / n - 1) / (n - 1)
      printf "%s %.7f\n", i < slow ? "slow" : "fast", mu / (mu + 1 / s - 1)
    }
  }' >"$3"
}
uniform 10 5 uniform-10.txt
uniform 4 2 uniform-4.txt

train() { # NAME OPTION...
  local name=$1
  shift
  if [[ ! -e $name/loss.png ]]; then "$glance" train -o "$name" "$@"; fi
}
one=(--caption "$caption")
# A second prompt, which chooses the adapters that are kept.
second=(--validation-caption "cup with straw")
many=(--captions captions-128.txt)
train paper --image sample.png "${one[@]}"
train paper-shared --image sample.png "${one[@]}" --shared
train paper-uniform --image sample.png "${one[@]}" --schedule custom:uniform-10.txt
train chord-one "${one[@]}" --target chord --cfg 3.5 --noises 8
train paper-validated --image sample.png "${one[@]}" --cfg 3.5 "${second[@]}"
train chord-one-validated "${one[@]}" --target chord --cfg 3.5 --noises 8 "${second[@]}"
train chord-cfg-one-validated "${one[@]}" --target chord-cfg --cfg 3.5 --noises 8 \
  --schedule custom:uniform-10.txt "${second[@]}"
train on-policy-one-validated "${one[@]}" --target on-policy --cfg 3.5 --noises 8 \
  --schedule custom:plan-4.txt "${second[@]}"
train chord "${many[@]}" --target chord --cfg 3.5 --steps 100
train chord-cfg-one "${one[@]}" --target chord-cfg --cfg 3.5 --noises 8 --schedule custom:uniform-10.txt
train chord-cfg --captions "$here/captions.txt" --target chord-cfg --cfg 3.5 --steps 400 --batch 16 \
  --learning-rate 2e-3 --schedule custom:uniform-10.txt
if [[ -n $pictures ]]; then
  model=$here/../../java/glance4j-tiny/src/main/resources/org/glance4j/glance-tiny
  grep -vxFf "$model/prompts.txt" "$pictures/labels.txt" >captions-unseen.txt
  # Every linear of the blocks.
  linears=to_q,to_k,to_v,to_out.0,add_q_proj,add_k_proj,add_v_proj,to_add_out
  linears+=,ff.net.0.proj,ff.net.2,ff_context.net.0.proj,ff_context.net.2,proj_mlp,proj_out
  linears+=,norm.linear,norm1.linear,norm1_context.linear
  train chord-cfg-all --captions captions-unseen.txt --target chord-cfg --cfg 3.5 --steps 900 \
    --batch 16 --learning-rate 2e-3 --schedule custom:uniform-10.txt --linears "$linears"
fi
train on-policy-one "${one[@]}" --target on-policy --cfg 3.5 --noises 8 --schedule custom:plan-4.txt
train on-policy "${many[@]}" --target on-policy --cfg 3.5 --steps 150 --schedule custom:plan-4.txt
train on-policy-10 "${many[@]}" --target on-policy --cfg 3.5 --steps 60 \
  --learning-rate 2e-4 --schedule custom:plan-10.txt

cat >methods.txt <<'M'
base/10: schedule=base-10 cfg=3.5
base/8: schedule=base-8 cfg=3.5
base/6: schedule=base-6 cfg=3.5
base/4: schedule=base-4 cfg=3.5
base/3: schedule=base-3 cfg=3.5
base/2: schedule=base-2 cfg=3.5
base without CFG/10: schedule=base-10
base without CFG/8: schedule=base-8
base without CFG/4: schedule=base-4
Glance's timesteps, no adapter/5+10: schedule=glance-5-10 cfg=3.5
Glance's timesteps, no adapter/5+5: schedule=glance cfg=3.5
Glance's timesteps, no adapter/3+5: schedule=glance-3-5 cfg=3.5
Glance's timesteps, no adapter/2+2: schedule=glance-2-2 cfg=3.5
paper recipe/5+10: schedule=glance-5-10 cfg=3.5 slow=paper/slow.safetensors fast=paper/fast.safetensors
paper recipe/5+5: schedule=glance cfg=3.5 slow=paper/slow.safetensors fast=paper/fast.safetensors
paper recipe/3+5: schedule=glance-3-5 cfg=3.5 slow=paper/slow.safetensors fast=paper/fast.safetensors
paper recipe/2+2: schedule=glance-2-2 cfg=3.5 slow=paper/slow.safetensors fast=paper/fast.safetensors
paper recipe at 0.5: schedule=glance cfg=3.5 slow=paper/slow.safetensors fast=paper/fast.safetensors scale=0.5
paper recipe at 0.25: schedule=glance cfg=3.5 slow=paper/slow.safetensors fast=paper/fast.safetensors scale=0.25
paper recipe, one LoRA for both phases: schedule=glance cfg=3.5 slow=paper-shared/shared.safetensors fast=paper-shared/shared.safetensors
paper recipe, uniform timesteps: schedule=custom:uniform-10.txt cfg=3.5 slow=paper-uniform/slow.safetensors fast=paper-uniform/fast.safetensors
chord, one prompt: schedule=glance cfg=3.5 slow=chord-one/slow.safetensors fast=chord-one/fast.safetensors
chord, 128 prompts: schedule=glance cfg=3.5 slow=chord/slow.safetensors fast=chord/fast.safetensors
chord-cfg, one prompt: schedule=custom:uniform-10.txt slow=chord-cfg-one/slow.safetensors fast=chord-cfg-one/fast.safetensors
chord-cfg, 255 prompts/10: schedule=custom:uniform-10.txt slow=chord-cfg/slow.safetensors fast=chord-cfg/fast.safetensors
chord-cfg, 255 prompts/4: schedule=custom:uniform-4.txt slow=chord-cfg/slow.safetensors fast=chord-cfg/fast.safetensors
paper recipe, kept by a second prompt: schedule=glance cfg=3.5 slow=paper-validated/slow.safetensors fast=paper-validated/fast.safetensors
chord, one prompt, kept by a second: schedule=glance cfg=3.5 slow=chord-one-validated/slow.safetensors fast=chord-one-validated/fast.safetensors
chord-cfg, one prompt, kept by a second: schedule=custom:uniform-10.txt slow=chord-cfg-one-validated/slow.safetensors fast=chord-cfg-one-validated/fast.safetensors
plan + on-policy, one prompt, kept by a second/4: schedule=custom:plan-4.txt slow=on-policy-one-validated/slow.safetensors fast=on-policy-one-validated/fast.safetensors
plan, plain CFG/4: schedule=custom:plan-4-plain.txt cfg=3.5
plan/10: schedule=custom:plan-10.txt
plan/8: schedule=custom:plan-8.txt
plan/6: schedule=custom:plan-6.txt
plan/4: schedule=custom:plan-4.txt
plan/3: schedule=custom:plan-3.txt
plan/2: schedule=custom:plan-2.txt
plan + on-policy, one prompt/4: schedule=custom:plan-4.txt slow=on-policy-one/slow.safetensors fast=on-policy-one/fast.safetensors
plan + on-policy, 128 prompts/4: schedule=custom:plan-4.txt slow=on-policy/slow.safetensors fast=on-policy/fast.safetensors
plan + on-policy at 0.5, 128 prompts/4: schedule=custom:plan-4.txt slow=on-policy/slow.safetensors fast=on-policy/fast.safetensors scale=0.5
plan + on-policy, 128 prompts/10: schedule=custom:plan-10.txt slow=on-policy-10/slow.safetensors fast=on-policy-10/fast.safetensors
M
if [[ -n $pictures ]]; then
  cat >>methods.txt <<'M'
chord-cfg, 1237 prompts/10: schedule=custom:uniform-10.txt slow=chord-cfg-all/slow.safetensors fast=chord-cfg-all/fast.safetensors
chord-cfg, 1237 prompts/4: schedule=custom:uniform-4.txt slow=chord-cfg-all/slow.safetensors fast=chord-cfg-all/fast.safetensors
M
fi
"$glance" evaluate --methods methods.txt --seeds 1000,1001 ${pictures:+--pictures "$pictures"} \
  --samples 12 -o evaluation
