package org.glance4j.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.HelpCommand;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** The {@code glance} command. */
@Command(
    name = "glance",
    description = "Draws pictures from text with diffusion transformers, in few steps.",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      GenerateCommand.class,
      RepeatCommand.class,
      PlanCommand.class,
      TrainCommand.class,
      EvaluateCommand.class,
      InspectCommand.class,
      DoctorCommand.class,
      HelpCommand.class
    })
public final class Main {
  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      description = "Show stack traces of errors.")
  boolean verbose;

  private Main() {}

  /** Runs the command and exits: 0 done, 2 bad usage, 1 failure. */
  public static void main(String[] arguments) {
    System.exit(run(commandLine(), arguments));
  }

  private static int run(CommandLine commandLine, String[] arguments) {
    try {
      return commandLine.execute(arguments);
    } catch (OutOfMemoryError | LinkageError e) {
      // picocli's handler sees exceptions only.
      commandLine.getErr().println("glance: " + e);
      commandLine.getErr().flush();
      return CommandLine.ExitCode.SOFTWARE;
    }
  }

  static CommandLine commandLine() {
    Main main = new Main();
    return new CommandLine(main)
        .setCaseInsensitiveEnumValuesAllowed(true)
        // A prompt may begin with "@".
        .setExpandAtFiles(false)
        .setExecutionExceptionHandler(
            (error, command, parsed) -> Errors.report(error, command, main.verbose));
  }
}
