package org.glance4j.model.flux;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.Checkpoint;
import org.glance4j.model.Linears;
import org.glance4j.weights.Weights;

/** All blocks: first the double ones, text and image side by side, then the single ones. */
final class FluxBlocks {
  private final List<DoubleBlock> doubleBlocks = new ArrayList<>();
  private final List<SingleBlock> singleBlocks = new ArrayList<>();
  private final boolean checkpointing;

  private FluxBlocks(boolean checkpointing) {
    this.checkpointing = checkpointing;
  }

  static FluxBlocks take(
      FluxConfig config, Linears linears, Weights weights, boolean checkpointing) {
    FluxBlocks blocks = new FluxBlocks(checkpointing);
    for (int i = 0; i < config.layers(); i++) {
      blocks.doubleBlocks.add(DoubleBlock.take(i, config, linears, weights));
    }
    for (int i = 0; i < config.singleLayers(); i++) {
      blocks.singleBlocks.add(SingleBlock.take(i, config, linears, weights));
    }
    return blocks;
  }

  /**
   * Runs all blocks. Frees each state but {@code context}.
   *
   * @param context text tokens, shape [batch, textTokens, width]
   * @param image image tokens, shape [batch, imageTokens, width]
   * @return text tokens, then image tokens; shape [batch, tokens, width]
   */
  Tensor forward(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    return checkpointing && GradMode.is_enabled() && trains(pass.mix())
        ? checkpointed(context, image, vectors, pass)
        : recorded(context, image, vectors, pass);
  }

  private static boolean trains(AdapterChoice choice) {
    return choice instanceof AdapterMix mix
        && mix.parts().stream()
            .flatMap(part -> part.adapter().pairs().values().stream())
            .anyMatch(LoraPair::requiresGradient);
  }

  private Tensor recorded(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    DoubleBlock.Streams x = new DoubleBlock.Streams(context, image);
    boolean ownsText = false;
    for (DoubleBlock block : doubleBlocks) {
      DoubleBlock.Streams next = block.forward(x, vectors, pass);
      x.image().close();
      if (ownsText) {
        x.text().close();
      }
      ownsText = true;
      x = next;
    }
    Tensor joint = joined(x);
    for (SingleBlock block : singleBlocks) {
      Tensor next = block.forward(joint, vectors, pass);
      joint.close();
      joint = next;
    }
    return joint;
  }

  private static Tensor joined(DoubleBlock.Streams x) {
    return torch.cat(new TensorVector(x.text(), x.image()), 1);
  }

  /** The same, of which only each block's input is kept for the backward pass. */
  private Tensor checkpointed(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    Tensor joint = joined(new DoubleBlock.Streams(context, image));
    long[] tokens = {context.size(1), image.size(1)};
    for (DoubleBlock block : doubleBlocks) {
      joint =
          checkpointed(
              joint,
              vectors,
              DoubleBlock.VECTORS,
              (x, reader) -> {
                TensorVector parts = x.split_with_sizes(tokens, 1);
                return joined(
                    block.forward(
                        new DoubleBlock.Streams(parts.get(0), parts.get(1)), reader, pass));
              });
    }
    for (SingleBlock block : singleBlocks) {
      joint =
          checkpointed(
              joint, vectors, SingleBlock.VECTORS, (x, reader) -> block.forward(x, reader, pass));
    }
    return joint;
  }

  /** One block, from the joint state to the next. */
  private interface Block {
    Tensor forward(Tensor x, Modulation.Reader vectors);
  }

  private static Tensor checkpointed(Tensor x, Modulation.Reader vectors, int count, Block block) {
    Tensor next =
        Checkpoint.run(
            List.of(x, vectors.next(count).values()),
            inputs -> block.forward(inputs.get(0), new Modulation(inputs.get(1)).reader()));
    x.close();
    return next;
  }
}
