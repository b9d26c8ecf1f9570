package org.glance4j.schedule;

import java.nio.file.Path;
import java.util.List;

/**
 * The schedule a request asks for; {@link #resolve} makes it a {@link Schedule} for a model and an
 * image size. Immutable.
 *
 * <p>Text forms, which {@link #parse} reads and {@code toString} writes:
 *
 * <ul>
 *   <li>{@code base} or {@code base-N}: see {@link #base}; 50 steps where no number is given
 *   <li>{@code glance} or {@code glance-S-F}: see {@link #glance(int, int)}; 5 and 5 where no
 *       numbers are given
 *   <li>{@code official}: see {@link #official()}
 *   <li>{@code custom:[slow 1.0, slow 0.95 cfg 2.4, fast 0.6]}: see {@link #custom}
 *   <li>{@code custom:FILE}: the same from a file, see {@link #read}; only {@link #parse} takes it,
 *       and {@code toString} writes the numbers, not the file
 * </ul>
 */
public sealed interface ScheduleSpec permits BaseSpec, GlanceSpec, OfficialSpec, CustomSpec {

  /**
   * The model's own schedule, without adapters.
   *
   * @param steps 1..1000
   */
  static ScheduleSpec base(int steps) {
    return new BaseSpec(steps);
  }

  /** Glance 5 + 5: steps 1, 3, 5, 7, 9 (slow) and 11, 21, 31, 41, 50 (fast) of 50. */
  static ScheduleSpec glance() {
    return glance(5, 5);
  }

  /**
   * Glance with other step counts. Of the 50-step base schedule for the image's size it keeps, for
   * {@code k} from 0:
   *
   * <ul>
   *   <li>SLOW: step {@code 1 + floor(10 k / slowSteps)}: evenly among the first ten
   *   <li>FAST: step {@code 11 + floor(40 k / (fastSteps - 1))}, but at most 50: evenly from the
   *       11th to the last
   * </ul>
   *
   * Each Euler step goes from one kept sigma to the next, the last to 0. 5 + 5 are the steps of the
   * paper (arXiv 2512.02899) and its code; neither lists the steps of 3 + 5 (here 1, 4, 7) or 5 +
   * 10 (here 11, 15, 19, 24, 28, 33, 37, 42, 46, 50): those follow the rule.
   *
   * @param slowSteps 1..10
   * @param fastSteps 1..40
   */
  static ScheduleSpec glance(int slowSteps, int fastSteps) {
    return new GlanceSpec(slowSteps, fastSteps);
  }

  /**
   * What the authors' released code does. It tells the model the ten timesteps of {@link #glance()}
   * at 1024x1024, rounded to bfloat16, whatever the image's size; but its Euler steps walk the
   * first five intervals of the 50-step schedule, then a whole 5-step schedule from 1 to 0, both
   * for the image's own size. The sigmas therefore jump back up to 1 where the fast phase begins.
   */
  static ScheduleSpec official() {
    return OfficialSpec.INSTANCE;
  }

  /**
   * The caller's own list. Each Euler step goes from one sigma to the next, the last to 0; nothing
   * is shifted for the image's size.
   *
   * @param steps 1..1000, their sigmas strictly decreasing
   */
  static ScheduleSpec custom(List<PhaseSigma> steps) {
    return new CustomSpec(steps);
  }

  /**
   * Reads a custom schedule from a UTF-8 text file: one step a line, a phase and a sigma, as in
   * {@code slow 0.95}. A {@code #} begins a comment; empty lines are skipped.
   *
   * @throws org.glance4j.ModelFormatException naming file, line and value
   */
  static ScheduleSpec read(Path file) {
    return CustomText.read(file);
  }

  /**
   * Reads any text form.
   *
   * @throws IllegalArgumentException if {@code text} is none
   * @throws org.glance4j.ModelFormatException if it names a file that cannot be used
   */
  static ScheduleSpec parse(String text) {
    return SpecText.parse(text, /* mayReadFile= */ true);
  }

  /**
   * As {@link #parse}, but takes no {@code custom:FILE}: for text from elsewhere, such as a
   * picture's text chunk, which must not choose a file to be read here.
   *
   * @throws IllegalArgumentException if {@code text} is none of the other forms
   */
  static ScheduleSpec parseInline(String text) {
    return SpecText.parse(text, /* mayReadFile= */ false);
  }

  /**
   * The schedule for one image size.
   *
   * @param shift the model's scheduler
   * @param imageTokens the length of the packed latents, at least 1
   */
  Schedule resolve(SigmaShift shift, int imageTokens);

  /**
   * This schedule for an image of another size than the one it was made for. A custom list's sigmas
   * are moved as {@link SigmaShift#resized} says; all others follow the size by themselves.
   *
   * @param shift the model's scheduler
   * @param madeForTokens the length of the packed latents it was made for
   * @param imageTokens the length asked for
   */
  default ScheduleSpec resized(SigmaShift shift, int madeForTokens, int imageTokens) {
    return this;
  }
}
