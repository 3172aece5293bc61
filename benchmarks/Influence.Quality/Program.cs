using Influence.Quality;

return CommandRunner.Run(Options.Command(QualityRun.Run), args);
