using Influence.Benchmarks;

return CommandRunner.Run(Commands.Root(), args);
