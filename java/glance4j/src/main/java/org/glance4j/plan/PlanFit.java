package org.glance4j.plan;

/**
 * Moves the sigmas and guidances of a schedule so that what it leads to comes closer to a goal: the
 * Levenberg and Marquardt step of the least-squares problem {@code |r(sigmas, guidances)|^2}.
 *
 * <p>The first sigma stays and the last is 0. The others are walked through {@code p_k = logit(
 * sigma_{k+1} / sigma_k)}, of which any value gives a decreasing list; moving {@code p_k} scales
 * every sigma after k. Guidances stay at 1 or above.
 */
final class PlanFit {
  /** Nothing may change more than this at once: the problem is linear only nearby. */
  private static final double MAX_CHANGE = 1;

  /** Keeps a direction that changes nothing from dividing by zero. */
  private static final double LEAST_DAMPING = 1e-4;

  /**
   * The problem where it stands.
   *
   * @param gradient {@code J^T r}, one entry for each sigma but the first and the final 0, then one
   *     for each guidance, or none
   * @param normal {@code J^T J}, rows and columns as the gradient's
   */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  record Problem(double[] gradient, double[][] normal) {}

  private PlanFit() {}

  /**
   * A schedule that should be better.
   *
   * @param from of at least 2 steps
   * @param problem at this schedule; guidances that it does not have as unknowns stay
   * @param damping above 0; the larger, the smaller the step
   */
  static GuidedSigmas propose(GuidedSigmas from, Problem problem, double damping) {
    int unknowns = problem.gradient().length;
    double[][] chain = chain(from.sigmas(), unknowns);
    double[][] normal = multiply(transpose(chain), multiply(problem.normal(), chain));
    double[] gradient = new double[unknowns];
    double largest = 0;
    for (int m = 0; m < unknowns; m++) {
      for (int k = 0; k < unknowns; k++) {
        gradient[m] += chain[k][m] * problem.gradient()[k];
      }
      largest = Math.max(largest, normal[m][m]);
    }
    for (int m = 0; m < unknowns; m++) {
      normal[m][m] += damping * (normal[m][m] + LEAST_DAMPING * largest);
    }
    double[] change = solve(normal, gradient);
    for (int m = 0; m < unknowns; m++) {
      change[m] = Math.max(-MAX_CHANGE, Math.min(MAX_CHANGE, -change[m]));
    }
    return moved(from, change);
  }

  private static GuidedSigmas moved(GuidedSigmas from, double[] change) {
    int ratios = from.steps() - 1;
    float[] sigmas = from.sigmas().clone();
    double sigma = sigmas[0];
    for (int m = 0; m < ratios; m++) {
      double ratio = (double) from.sigmas()[m + 1] / from.sigmas()[m];
      double odds = ratio / (1 - ratio) * Math.exp(change[m]);
      sigma *= odds / (1 + odds);
      sigmas[m + 1] = (float) sigma;
    }
    float[] cfgs = from.cfgs().clone();
    for (int m = ratios; m < change.length; m++) {
      cfgs[m - ratios] = (float) Math.max(1, cfgs[m - ratios] + change[m]);
    }
    return new GuidedSigmas(sigmas, cfgs);
  }

  /**
   * {@code d sigma_{k+1} / d p_m}: {@code sigma_{k+1} (1 - sigma_{m+1} / sigma_m)} up to k. A
   * guidance is its own parameter.
   */
  private static double[][] chain(float[] sigmas, int unknowns) {
    double[][] chain = new double[unknowns][unknowns];
    for (int k = 0; k < unknowns; k++) {
      if (k >= sigmas.length - 2) {
        chain[k][k] = 1;
        continue;
      }
      for (int m = 0; m <= k; m++) {
        chain[k][m] = sigmas[k + 1] * (1 - (double) sigmas[m + 1] / sigmas[m]);
      }
    }
    return chain;
  }

  private static double[][] transpose(double[][] matrix) {
    int n = matrix.length;
    double[][] result = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        result[j][i] = matrix[i][j];
      }
    }
    return result;
  }

  private static double[][] multiply(double[][] a, double[][] b) {
    int n = a.length;
    double[][] result = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int k = 0; k < n; k++) {
        for (int j = 0; j < n; j++) {
          result[i][j] += a[i][k] * b[k][j];
        }
      }
    }
    return result;
  }

  /** Solves {@code matrix x = right} by Cholesky's factors; matrix is positive definite. */
  private static double[] solve(double[][] matrix, double[] right) {
    int n = right.length;
    double[][] lower = new double[n][n];
    double[] x = new double[n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = matrix[i][j];
        for (int k = 0; k < j; k++) {
          sum -= lower[i][k] * lower[j][k];
        }
        lower[i][j] = i == j ? Math.sqrt(sum) : sum / lower[j][j];
      }
      x[i] = right[i];
      for (int k = 0; k < i; k++) {
        x[i] -= lower[i][k] * x[k];
      }
      x[i] /= lower[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
      for (int k = i + 1; k < n; k++) {
        x[i] -= lower[k][i] * x[k];
      }
      x[i] /= lower[i][i];
    }
    return x;
  }
}
