package org.glance4j.model;

import java.nio.file.Path;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;

/**
 * A family of models: what a {@link org.glance4j.weights.Pipeline} stands for. Stateless. Every
 * method throws {@link ModelFormatException} if the folder is not a sound model of the family; none
 * but the two that open a model reads weights.
 */
public interface ModelFamily {
  /**
   * Opens a diffusers folder. Whatever can be seen without the weights' values is checked at once,
   * of parts too that are loaded later.
   *
   * @throws ModelFormatException if a file is missing, damaged or not supported, or two parts do
   *     not fit each other
   */
  ImageModel open(Path folder, LoadOptions options);

  /**
   * As {@link #open}, with a transformer that records gradients.
   *
   * @param checkpointing true to compute each block again in the backward pass, in place of keeping
   *     its activations
   */
  ImageModel openForTraining(Path folder, LoadOptions options, boolean checkpointing);

  /** The size of picture that the model in {@code folder} was made for. */
  ImageSize defaultSize(Path folder);

  /** What each component takes of its own where {@code backend} computes. */
  MemoryNeeds memory(Path folder, ScalarType dtype, Backend backend);

  /**
   * About how many bytes one generation needs beside the weights.
   *
   * @param batch 2 with CFG, otherwise 1
   * @param steps how many steps the schedule has
   */
  long workspaceBytes(Path folder, ImageSize size, int batch, int steps);

  /**
   * About how many bytes training an adapter takes, beside {@link #memory}.
   *
   * @param batch 2 if the student is trained with CFG, otherwise 1
   * @param checkpointing true if blocks are computed again in the backward pass
   */
  long trainingBytes(
      Path folder, ScalarType dtype, ImageSize size, int rank, int batch, boolean checkpointing);

  /** How adapters for this family are trained by the published recipe (arXiv 2512.02899). */
  PublishedTraining publishedTraining();

  /**
   * What differs between the families in the published recipe.
   *
   * @param rank of the adapters
   * @param alpha their scale times their rank
   * @param learningRate of AdamW
   */
  record PublishedTraining(int rank, double alpha, double learningRate) {}
}
