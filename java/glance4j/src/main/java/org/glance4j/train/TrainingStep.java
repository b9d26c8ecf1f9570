package org.glance4j.train;

import org.glance4j.schedule.Phase;

/**
 * One step of an expert's training, told when it is done.
 *
 * @param phase whose adapter is being trained
 * @param index of the step, from 0
 * @param steps how many this expert takes
 * @param loss mean squared error of the predicted velocity, before the step
 * @param gradientNorm Euclidean norm of all gradients, before clipping
 * @param learningRate of this step
 * @param secondsLeft until all experts are trained, estimated from the steps so far
 */
public record TrainingStep(
    Phase phase,
    int index,
    int steps,
    double loss,
    double gradientNorm,
    double learningRate,
    double secondsLeft) {}
