package org.glance4j.model.dit;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * How long the text of each sample of a batch is: the rest of its text tokens, on the right, only
 * fill the batch up. No token attends to them; what becomes of them themselves does not matter, but
 * is finite.
 *
 * <p>Attention leaves the padding's keys out of each sample, in place of masking them: the kernels
 * know no mask, and LibTorch has faster ones where there is none.
 *
 * @param textTokens of the batch
 * @param lengths of each sample, 1...textTokens
 */
public record TextPadding(int textTokens, List<Integer> lengths) {
  /** Copies the list and checks it. */
  public TextPadding {
    lengths = List.copyOf(lengths);
    for (int length : lengths) {
      if (length < 1 || length > textTokens) {
        throw new IllegalArgumentException(
            "text lengths %s must be in 1...%d".formatted(lengths, textTokens));
      }
    }
  }

  /** The padding of texts put side by side; null if all have the same length. */
  public static @Nullable TextPadding of(int... lengths) {
    int longest = Arrays.stream(lengths).max().orElseThrow();
    return Arrays.stream(lengths).allMatch(length -> length == longest)
        ? null
        : new TextPadding(longest, IntStream.of(lengths).boxed().toList());
  }

  /** That of the first sample by itself; null if there is none. */
  public @Nullable TextPadding first() {
    int length = lengths.get(0);
    return length == textTokens ? null : new TextPadding(textTokens, List.of(length));
  }

  /** How many samples the batch has. */
  int samples() {
    return lengths.size();
  }

  /**
   * What one sample attends to.
   *
   * @param joint keys or values, text first; shape [batch, heads, tokens, dim]
   * @return shape [1, heads, tokens without the padding, dim]
   */
  Tensor attended(Tensor joint, int sample) {
    Tensor own = joint.narrow(0, sample, 1);
    int length = lengths.get(sample);
    return length == textTokens
        ? own
        : torch.cat(
            new TensorVector(
                own.narrow(2, 0, length), own.narrow(2, textTokens, own.size(2) - textTokens)),
            2);
  }
}
