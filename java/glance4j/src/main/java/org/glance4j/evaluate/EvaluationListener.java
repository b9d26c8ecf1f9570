package org.glance4j.evaluate;

/**
 * Is told of each picture, on the evaluating thread. An exception it throws ends the evaluation and
 * reaches the caller.
 */
@FunctionalInterface
public interface EvaluationListener {
  /**
   * Called when a picture is done and measured.
   *
   * @param done how many pictures there are now, from 1
   * @param all how many there will be
   */
  void onPicture(Method method, PictureResult picture, int done, int all);
}
