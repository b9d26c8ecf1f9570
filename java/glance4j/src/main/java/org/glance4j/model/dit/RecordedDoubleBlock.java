package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.model.TensorScope;
import org.jspecify.annotations.Nullable;

/** A double block's forward pass in a {@link Recording}, and its backward pass. */
final class RecordedDoubleBlock {
  /** One stream's way to the attention. */
  private record Before(DoubleBlock.Stream weights, Tensor x, AdaLn adaLn, Tensor normed) {
    static Before run(
        DoubleBlock.Stream weights,
        ModulatedNorm norm,
        Tensor x,
        AdaLn adaLn,
        Recording recording) {
      recording.keep(adaLn.scale());
      recording.keep(adaLn.gate());
      return new Before(weights, x, adaLn, recording.keep(adaLn.modulate(norm, x)));
    }

    JointAttention.Stream project(Recording recording) {
      Tensor projected = weights.qkv().project(normed, recording.mix());
      return new JointAttention.Stream(recording.keep(projected), weights.norms());
    }

    /**
     * The gradient of x.
     *
     * @param state the gradient of the hidden state behind the attention
     * @param projected the gradient of q, k and v
     */
    @Nullable Tensor backward(Tensor state, Tensor projected, Recording recording, boolean wantsX) {
      Tensor dNormed = recording.backward(weights.qkv(), normed, projected, wantsX);
      return dNormed == null ? null : adaLn.backward(x, dNormed).add(state);
    }
  }

  /**
   * One stream's way from the attention on.
   *
   * @param attended what the output linear read
   * @param state the hidden state behind the attention
   * @param normed what the MLP read
   * @param projected its hidden layer before the activation
   * @param hidden the hidden layer
   */
  private record After(
      DoubleBlock.Stream weights,
      AdaLn attention,
      AdaLn mlp,
      Tensor attended,
      Tensor state,
      Tensor normed,
      Tensor projected,
      Tensor hidden) {
    static After run(
        Before before, ModulatedNorm norm, Tensor attended, AdaLn mlp, Recording recording) {
      DoubleBlock.Stream weights = before.weights();
      recording.keep(mlp.scale());
      recording.keep(mlp.gate());
      Tensor state =
          weights.out().forward(attended, recording.mix(), before.adaLn().gate(), before.x());
      Tensor normed = mlp.modulate(norm, state);
      Tensor projected = weights.mlpUp().project(normed, recording.mix());
      return new After(
          weights,
          before.adaLn(),
          mlp,
          recording.keep(attended),
          recording.keep(state),
          recording.keep(normed),
          recording.keep(projected),
          recording.keep(torch.gelu(projected, "tanh")));
    }

    Tensor value(Recording recording) {
      return weights.mlpDown().forward(hidden, recording.mix(), mlp.gate(), state);
    }

    /** The gradient of the hidden state behind the attention. */
    Tensor stateBackward(Tensor gradient, Recording recording) {
      Tensor dHidden = recording.backward(weights.mlpDown(), hidden, gradient.mul(mlp.gate()));
      Tensor dProjected = torch.gelu_backward(dHidden, projected, "tanh");
      Tensor dNormed = recording.backward(weights.mlpUp(), normed, dProjected);
      return mlp.backward(state, dNormed).add(gradient);
    }

    /** The gradient of what the output linear read. */
    Tensor attendedBackward(Tensor stateGradient, Recording recording) {
      return recording.backward(weights.out(), attended, stateGradient.mul(attention.gate()));
    }
  }

  private final Recording recording;
  private final Before textBefore;
  private final Before imageBefore;
  private final RecordedAttention attention;
  private final After textAfter;
  private final After imageAfter;

  private RecordedDoubleBlock(
      Recording recording,
      Before textBefore,
      Before imageBefore,
      RecordedAttention attention,
      After textAfter,
      After imageAfter) {
    this.recording = recording;
    this.textBefore = textBefore;
    this.imageBefore = imageBefore;
    this.attention = attention;
    this.textAfter = textAfter;
    this.imageAfter = imageAfter;
  }

  /**
   * Runs a block.
   *
   * @param x kept by the recording
   */
  static Recorded<Streams, Streams> run(
      DoubleBlock block, Streams x, Modulation.Reader modulation, Recording recording) {
    BlockOperations.On operations = block.operations().kernels();
    ModulatedNorm norm = operations.norm();
    AdaLn imageAttn = modulation.nextAdaLn();
    AdaLn imageMlp = modulation.nextAdaLn();
    AdaLn textAttn = modulation.nextAdaLn();
    AdaLn textMlp = modulation.nextAdaLn();
    try (TensorScope scope = new TensorScope()) {
      Before text = Before.run(block.text(), norm, x.text(), textAttn, recording);
      Before image = Before.run(block.image(), norm, x.image(), imageAttn, recording);
      RecordedAttention attention =
          RecordedAttention.run(
              operations.attention(), recording, text.project(recording), image.project(recording));
      Tensor attended = attention.value();
      long textTokens = x.text().size(1);
      After textAfter = After.run(text, norm, rows(attended, 0, textTokens), textMlp, recording);
      After imageAfter =
          After.run(
              image, norm, rows(attended, textTokens, x.image().size(1)), imageMlp, recording);
      Streams value =
          new Streams(
              scope.release(textAfter.value(recording)),
              scope.release(imageAfter.value(recording)));
      RecordedDoubleBlock recorded =
          new RecordedDoubleBlock(recording, text, image, attention, textAfter, imageAfter);
      return new Recorded<>(value, recording.trains(block.name()), recorded::backward);
    }
  }

  private @Nullable Streams backward(Streams gradient, boolean wantsX) {
    Tensor textState = textAfter.stateBackward(gradient.text(), recording);
    Tensor imageState = imageAfter.stateBackward(gradient.image(), recording);
    Tensor attended =
        torch.cat(
            new TensorVector(
                textAfter.attendedBackward(textState, recording),
                imageAfter.attendedBackward(imageState, recording)),
            1);
    Tensor projected = attention.backward(attended);
    long textTokens = gradient.text().size(1);
    Tensor text = textBefore.backward(textState, rows(projected, 0, textTokens), recording, wantsX);
    Tensor image =
        imageBefore.backward(
            imageState, rows(projected, textTokens, gradient.image().size(1)), recording, wantsX);
    return text == null || image == null ? null : new Streams(text, image);
  }

  private static Tensor rows(Tensor all, long first, long count) {
    return all.narrow(1, first, count).contiguous();
  }
}
