package org.glance4j.model.dit;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.Linears;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/** Double blocks one after the other: text and image side by side. */
public final class DoubleBlocks implements Trunk.Blocks {
  private final List<DoubleBlock> blocks = new ArrayList<>();
  private final boolean checkpointing;

  private DoubleBlocks(boolean checkpointing) {
    this.checkpointing = checkpointing;
  }

  /**
   * Takes {@code transformer_blocks.0} and so on.
   *
   * @param checkpointing true to compute each block again in the backward pass
   */
  public static DoubleBlocks take(
      DoubleBlockNames names,
      int count,
      Heads heads,
      Linears linears,
      Weights weights,
      boolean checkpointing) {
    DoubleBlocks blocks = new DoubleBlocks(checkpointing);
    for (int i = 0; i < count; i++) {
      blocks.blocks.add(DoubleBlock.take(names, i, heads, linears, weights));
    }
    return blocks;
  }

  @Override
  public Tensor forward(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    return checkpointing && BlockCheckpoint.isWanted(pass.mix())
        ? checkpointed(context, image, vectors, pass)
        : plain(context, image, vectors, pass);
  }

  private Tensor plain(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    Streams x = new Streams(context, image);
    boolean ownsText = false;
    for (DoubleBlock block : blocks) {
      Streams next = block.forward(x, vectors, pass);
      x.image().close();
      if (ownsText) {
        x.text().close();
      }
      ownsText = true;
      x = next;
    }
    return joined(x);
  }

  @Override
  public Recorded<Streams, Tensor> record(
      Tensor context, Tensor image, RecordedVectors vectors, Recording recording) {
    Streams x = new Streams(recording.keep(context), recording.keep(image));
    Recorded<Streams, Streams> all = Recorded.nothing(x);
    for (DoubleBlock block : blocks) {
      RecordedVectors own = vectors.next(DoubleBlock.VECTORS).keptBy(recording);
      all = all.then(record(block, all.value(), own, recording));
      recording.keep(all.value().text());
      recording.keep(all.value().image());
    }
    long textTokens = context.size(1);
    long imageTokens = image.size(1);
    return all.then(
        new Recorded<>(
            joined(all.value()),
            false,
            (gradient, wantsX) ->
                new Streams(
                    gradient.narrow(1, 0, textTokens).contiguous(),
                    gradient.narrow(1, textTokens, imageTokens).contiguous())));
  }

  private Recorded<Streams, Streams> record(
      DoubleBlock block, Streams x, RecordedVectors vectors, Recording recording) {
    BiFunction<Streams, Recording, Recorded<Streams, Streams>> run =
        (input, keeping) -> RecordedDoubleBlock.run(block, input, vectors.again(), keeping);
    return checkpointing
        ? Recorded.checkpointed(x, recording, run, DoubleBlocks::released)
        : Recorded.kept(x, recording, run, DoubleBlocks::released);
  }

  private static Streams released(TensorScope scope, Streams streams) {
    return new Streams(scope.release(streams.text()), scope.release(streams.image()));
  }

  private static Tensor joined(Streams x) {
    return torch.cat(new TensorVector(x.text(), x.image()), 1);
  }

  /** The same, of which only each block's input is kept for the backward pass. */
  private Tensor checkpointed(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    Tensor joint = joined(new Streams(context, image));
    long[] tokens = {context.size(1), image.size(1)};
    for (DoubleBlock block : blocks) {
      joint =
          BlockCheckpoint.run(
              joint,
              vectors,
              DoubleBlock.VECTORS,
              (x, reader) -> {
                TensorVector parts = x.split_with_sizes(tokens, 1);
                return joined(block.forward(new Streams(parts.get(0), parts.get(1)), reader, pass));
              });
    }
    return joint;
  }
}
