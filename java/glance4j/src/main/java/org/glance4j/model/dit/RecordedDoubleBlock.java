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
  private record Before(
      DoubleBlock.Stream weights, Tensor x, RecordedVectors.Layer layer, Tensor normed) {
    static Before run(
        DoubleBlock.Stream weights,
        ModulatedNorm norm,
        Tensor x,
        RecordedVectors.Layer layer,
        Recording recording) {
      return new Before(weights, x, layer, recording.keep(layer.vectors().modulate(norm, x)));
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
      boolean wantsNormed = wantsX || layer.gradients() != null;
      Tensor dNormed = recording.backward(weights.qkv(), normed, projected, wantsNormed);
      return dNormed == null ? null : layer.modulateBackward(x, dNormed).add(state);
    }
  }

  /**
   * One stream's way from the attention on.
   *
   * @param attended what the output linear read
   * @param out what it gave
   * @param state the hidden state behind the attention
   * @param normed what the MLP read
   * @param projected its hidden layer before the activation
   * @param hidden the hidden layer
   * @param down what the MLP gave
   */
  private record After(
      DoubleBlock.Stream weights,
      RecordedVectors.Layer attention,
      RecordedVectors.Layer mlp,
      Tensor attended,
      Tensor out,
      Tensor state,
      Tensor normed,
      Tensor projected,
      Tensor hidden,
      Tensor down) {
    static After run(
        Before before,
        ModulatedNorm norm,
        Tensor attended,
        RecordedVectors.Layer mlp,
        Recording recording) {
      DoubleBlock.Stream weights = before.weights();
      Tensor out = weights.out().project(attended, recording.mix());
      Tensor state = before.layer().gated(before.x(), out, recording);
      Tensor normed = mlp.vectors().modulate(norm, state);
      Tensor projected = weights.mlpUp().project(normed, recording.mix());
      Tensor hidden = torch.gelu(projected, "tanh");
      return new After(
          weights,
          before.layer(),
          mlp,
          recording.keep(attended),
          out,
          recording.keep(state),
          recording.keep(normed),
          recording.keep(projected),
          recording.keep(hidden),
          weights.mlpDown().project(hidden, recording.mix()));
    }

    Tensor value(Recording recording) {
      return mlp.gated(state, down, recording);
    }

    /** The gradient of the hidden state behind the attention. */
    Tensor stateBackward(Tensor gradient, Recording recording) {
      Tensor dDown = mlp.gatedBackward(gradient, down);
      Tensor dHidden = recording.backward(weights.mlpDown(), hidden, dDown);
      Tensor dProjected = torch.gelu_backward(dHidden, projected, "tanh");
      Tensor dNormed = recording.backward(weights.mlpUp(), normed, dProjected);
      return mlp.modulateBackward(state, dNormed).add(gradient);
    }

    /** The gradient of what the output linear read. */
    Tensor attendedBackward(Tensor stateGradient, Recording recording) {
      Tensor dOut = attention.gatedBackward(stateGradient, out);
      return recording.backward(weights.out(), attended, dOut);
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
      DoubleBlock block, Streams x, RecordedVectors vectors, Recording recording) {
    ModulatedNorm norm = block.norm();
    RecordedVectors.Layer imageAttn = vectors.nextAdaLn(recording);
    RecordedVectors.Layer imageMlp = vectors.nextAdaLn(recording);
    RecordedVectors.Layer textAttn = vectors.nextAdaLn(recording);
    RecordedVectors.Layer textMlp = vectors.nextAdaLn(recording);
    try (TensorScope scope = new TensorScope()) {
      Before text = Before.run(block.text(), norm, x.text(), textAttn, recording);
      Before image = Before.run(block.image(), norm, x.image(), imageAttn, recording);
      RecordedAttention attention =
          RecordedAttention.run(
              block.attention(), recording, text.project(recording), image.project(recording));
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
      return new Recorded<>(value, recording.trains(block.name(), vectors), recorded::backward);
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
    return !wantsX || text == null || image == null ? null : new Streams(text, image);
  }

  private static Tensor rows(Tensor all, long first, long count) {
    return all.narrow(1, first, count).contiguous();
  }
}
