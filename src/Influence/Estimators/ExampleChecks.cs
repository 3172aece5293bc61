namespace Influence.Estimators;

/// <summary>What every estimator checks before it opens a session.</summary>
internal static class ExampleChecks
{
    public static void Run(InfluenceTask task, params (Examples Examples, string Role)[] inputs)
    {
        ArgumentNullException.ThrowIfNull(task);
        var problems = new List<string>();
        foreach (var (examples, role) in inputs)
        {
            ArgumentNullException.ThrowIfNull(examples, role);
            problems.AddRange(examples.Problems(role));
        }

        InfluenceException.ThrowIfAny(problems);
    }
}
