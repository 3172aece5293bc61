namespace Influence.Gradients;

/// <summary>Reports how a task's gradients are taken.</summary>
public static class TaskCoverage
{
    /// <summary>
    /// Runs the model on two of these examples and reports how each parameter's gradient is taken: by a layer's rule, by a
    /// backward pass for each single example (slow), or not at all.
    /// </summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="examples">Any examples that the training loss takes; the first batch is read.</param>
    /// <returns>The report; it prints as a table.</returns>
    /// <exception cref="InfluenceException">The model or the examples cannot be scored; the message says why.</exception>
    public static ParameterCoverage Coverage(this InfluenceTask task, Examples examples)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(examples);
        InfluenceException.ThrowIfAny([.. examples.Problems("examples")]);
        using var session = GradientSession.Open(task, examples, queries: null);
        return session.Coverage;
    }
}
