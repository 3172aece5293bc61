using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Influence;

/// <summary>Every message that the library logs.</summary>
internal static partial class Log
{
    public static void AuditDone(ILogger? logger, long byRule, long single, long leftOut, double milliseconds) =>
        AuditDoneCore(logger ?? NullLogger.Instance, byRule, single, leftOut, milliseconds);

    public static void SingleExamples(ILogger? logger, string parameter, long count, string reason) =>
        SingleExamplesCore(logger ?? NullLogger.Instance, parameter, count, reason);

    public static void Distrusted(ILogger? logger, string layers, string reason) =>
        DistrustedCore(logger ?? NullLogger.Instance, layers, reason);

    public static void Doubtful(ILogger? logger, string note) => DoubtfulCore(logger ?? NullLogger.Instance, note);

    public static void Planned(ILogger? logger, string plan, long queriesAtOnce) =>
        PlannedCore(logger ?? NullLogger.Instance, plan, queriesAtOnce);

    public static void Scored(ILogger? logger, string estimator, int queries, int train, int checkpoints, double seconds) =>
        ScoredCore(logger ?? NullLogger.Instance, estimator, queries, train, checkpoints, seconds);

    public static void CheckpointSaved(ILogger? logger, string path, long step) =>
        CheckpointSavedCore(logger ?? NullLogger.Instance, path, step);

    public static void SolverFellShort(ILogger? logger, string method, string report) =>
        SolverFellShortCore(logger ?? NullLogger.Instance, method, report);

    public static void Fitted(ILogger? logger, string method, int examples, double seconds) =>
        FittedCore(logger ?? NullLogger.Instance, method, examples, seconds);

    public static void NoCurvature(ILogger? logger, string parameters) => NoCurvatureCore(logger ?? NullLogger.Instance, parameters);

    public static void EarlierFit(ILogger? logger, string method) => EarlierFitCore(logger ?? NullLogger.Instance, method);

    public static void GroupsScored(ILogger? logger, string estimator, int groups, int queryGroups, long gradients, double seconds) =>
        GroupsScoredCore(logger ?? NullLogger.Instance, estimator, groups, queryGroups, gradients, seconds);

    public static void Retrained(ILogger? logger, int run, string subset, long seed, double seconds) =>
        RetrainedCore(logger ?? NullLogger.Instance, run, subset, seed, seconds);

    public static void RetrainingFailed(ILogger? logger, int run, string message) =>
        RetrainingFailedCore(logger ?? NullLogger.Instance, run, message);

    public static void RetrainingDamaged(ILogger? logger, int run, string problem) =>
        RetrainingDamagedCore(logger ?? NullLogger.Instance, run, problem);

    public static void RetrainingWaits(ILogger? logger, int runs, double seconds) =>
        RetrainingWaitsCore(logger ?? NullLogger.Instance, runs, seconds);

    public static void WorkWaits(ILogger? logger, int units, string stage, double seconds) =>
        WorkWaitsCore(logger ?? NullLogger.Instance, units, stage, seconds);

    [LoggerMessage(
        1,
        LogLevel.Information,
        "Gradients: {ByRule} parameters by layer rules, {Single} by single examples, {LeftOut} left out (checked in {Milliseconds:0} ms)"
    )]
    private static partial void AuditDoneCore(ILogger logger, long byRule, long single, long leftOut, double milliseconds);

    [LoggerMessage(21, LogLevel.Warning, "{Method} stopped before it reached its tolerance: {Report}")]
    private static partial void SolverFellShortCore(ILogger logger, string method, string report);

    [LoggerMessage(
        2,
        LogLevel.Warning,
        "{Parameter} ({Count} elements) is taken by single-example autograd, one more forward and backward pass for every example: "
            + "{Reason}. To leave it out: Layers = LayerSelection.Where(...)"
    )]
    private static partial void SingleExamplesCore(ILogger logger, string parameter, long count, string reason);

    [LoggerMessage(
        22,
        LogLevel.Warning,
        "{Layers}: from this batch on by single-example autograd, one more forward and backward pass for every example: {Reason}"
    )]
    private static partial void DistrustedCore(ILogger logger, string layers, string reason);

    [LoggerMessage(23, LogLevel.Warning, "{Note}")]
    private static partial void DoubtfulCore(ILogger logger, string note);

    [LoggerMessage(3, LogLevel.Debug, "Contractions: {Plan}; {QueriesAtOnce} queries at once")]
    private static partial void PlannedCore(ILogger logger, string plan, long queriesAtOnce);

    [LoggerMessage(4, LogLevel.Information, "{Estimator}: {Queries} x {Train} scores over {Checkpoints} checkpoints in {Seconds:0.0} s")]
    private static partial void ScoredCore(ILogger logger, string estimator, int queries, int train, int checkpoints, double seconds);

    [LoggerMessage(5, LogLevel.Information, "Checkpoint {Path} at step {Step}")]
    private static partial void CheckpointSavedCore(ILogger logger, string path, long step);

    [LoggerMessage(6, LogLevel.Information, "{Method} fitted on {Examples} examples in {Seconds:0.0} s")]
    private static partial void FittedCore(ILogger logger, string method, int examples, double seconds);

    [LoggerMessage(
        7,
        LogLevel.Warning,
        "{Parameters}: the training examples give no curvature beyond rounding (a dead or unused layer, "
            + "or the bias of a key projection), so under a damping relative to it, it adds nothing to the scores"
    )]
    private static partial void NoCurvatureCore(ILogger logger, string parameters);

    [LoggerMessage(
        8,
        LogLevel.Warning,
        "This {Method} was saved by an earlier version, which did not note frozen weights and buffers: "
            + "whether they are still those of the fit is not known"
    )]
    private static partial void EarlierFitCore(ILogger logger, string method);

    [LoggerMessage(
        31,
        LogLevel.Information,
        "{Estimator}: {Groups} groups for {QueryGroups} query groups from {Gradients} gradients in {Seconds:0.0} s"
    )]
    private static partial void GroupsScoredCore(
        ILogger logger,
        string estimator,
        int groups,
        int queryGroups,
        long gradients,
        double seconds
    );

    [LoggerMessage(61, LogLevel.Information, "Retraining run {Run} ({Subset}, seed {Seed}) in {Seconds:0.0} s")]
    private static partial void RetrainedCore(ILogger logger, int run, string subset, long seed, double seconds);

    [LoggerMessage(62, LogLevel.Warning, "Retraining run {Run} failed: {Message}")]
    private static partial void RetrainingFailedCore(ILogger logger, int run, string message);

    [LoggerMessage(63, LogLevel.Warning, "Retraining run {Run} is done again: {Problem}")]
    private static partial void RetrainingDamagedCore(ILogger logger, int run, string problem);

    [LoggerMessage(
        64,
        LogLevel.Information,
        "Waiting for {Runs} retraining runs that other processes are at; one that shows no sign of life for {Seconds:0} s is taken over"
    )]
    private static partial void RetrainingWaitsCore(ILogger logger, int runs, double seconds);

    [LoggerMessage(
        65,
        LogLevel.Information,
        "Waiting for {Units} units of {Stage} that other processes are at; one that shows no sign of life for {Seconds:0} s is taken over"
    )]
    private static partial void WorkWaitsCore(ILogger logger, int units, string stage, double seconds);
}
