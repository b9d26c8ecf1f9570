package org.glance4j.model.flux;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Linears;
import org.glance4j.model.TensorScope;
import org.glance4j.model.dit.BlockCheckpoint;
import org.glance4j.model.dit.DoubleBlockNames;
import org.glance4j.model.dit.DoubleBlocks;
import org.glance4j.model.dit.Heads;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.Pass;
import org.glance4j.model.dit.Recorded;
import org.glance4j.model.dit.RecordedVectors;
import org.glance4j.model.dit.Recording;
import org.glance4j.model.dit.Streams;
import org.glance4j.model.dit.Trunk;
import org.glance4j.weights.Weights;

/** All blocks: first the double ones, text and image side by side, then the single ones. */
final class FluxBlocks implements Trunk.Blocks {
  private static final DoubleBlockNames NAMES =
      new DoubleBlockNames("norm1.linear", "norm1_context.linear", "ff", "ff_context");

  private final DoubleBlocks doubleBlocks;
  private final List<SingleBlock> singleBlocks = new ArrayList<>();
  private final boolean checkpointing;

  private FluxBlocks(DoubleBlocks doubleBlocks, boolean checkpointing) {
    this.doubleBlocks = doubleBlocks;
    this.checkpointing = checkpointing;
  }

  static FluxBlocks take(
      FluxConfig config, Linears linears, Weights weights, boolean checkpointing) {
    Heads heads = new Heads(config.heads(), config.headDim());
    DoubleBlocks doubleBlocks =
        DoubleBlocks.take(NAMES, config.layers(), heads, linears, weights, checkpointing);
    FluxBlocks blocks = new FluxBlocks(doubleBlocks, checkpointing);
    for (int i = 0; i < config.singleLayers(); i++) {
      blocks.singleBlocks.add(SingleBlock.take(i, heads, linears, weights));
    }
    return blocks;
  }

  /** The linears that give the blocks' vectors, in the order in which the blocks read them. */
  static List<Linears.Part> modulation(FluxConfig config) {
    long width = config.width();
    List<Linears.Part> parts = new ArrayList<>(NAMES.modulation(config.layers(), width));
    for (int i = 0; i < config.singleLayers(); i++) {
      parts.add(SingleBlock.modulation(i, width));
    }
    return parts;
  }

  @Override
  public Recorded<Streams, Tensor> record(
      Tensor context, Tensor image, RecordedVectors vectors, Recording recording) {
    Recorded<Streams, Tensor> all = doubleBlocks.record(context, image, vectors, recording);
    for (SingleBlock block : singleBlocks) {
      recording.keep(all.value());
      RecordedVectors own = vectors.next(SingleBlock.VECTORS).keptBy(recording);
      all = all.then(record(block, all.value(), own, recording));
    }
    return all;
  }

  private Recorded<Tensor, Tensor> record(
      SingleBlock block, Tensor x, RecordedVectors vectors, Recording recording) {
    BiFunction<Tensor, Recording, Recorded<Tensor, Tensor>> run =
        (input, keeping) -> block.record(input, vectors.again(), keeping);
    return checkpointing
        ? Recorded.checkpointed(x, recording, run, TensorScope::release)
        : Recorded.kept(x, recording, run, TensorScope::release);
  }

  @Override
  public Tensor forward(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    boolean again = checkpointing && BlockCheckpoint.isWanted(pass.mix());
    Tensor joint = doubleBlocks.forward(context, image, vectors, pass);
    for (SingleBlock block : singleBlocks) {
      if (again) {
        joint =
            BlockCheckpoint.run(
                joint, vectors, SingleBlock.VECTORS, (x, reader) -> block.forward(x, reader, pass));
      } else {
        Tensor next = block.forward(joint, vectors, pass);
        joint.close();
        joint = next;
      }
    }
    return joint;
  }
}
