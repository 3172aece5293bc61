namespace Influence.Numerics;

/// <summary>Why a backward pass failed, from libtorch's words, and what to write instead.</summary>
internal static class BackwardFailure
{
    private const string MissingDerivative = "not implemented";
    private const string Memory = "Memory ran out: lower the batch size of the examples, or the MemoryBudget where there is one.";

    private static readonly (string Words, string Cure)[] s_cures =
    [
        ("allocate", Memory),
        ("out of memory", Memory),
        (
            "modified by an inplace operation",
            "The model or the loss writes in place to what the backward pass needs: write x = x.relu() for x.relu_(), x = x + y for "
                + "x.add_(y) and x += y."
        ),
        (
            "second time",
            "The graph is gone: the delegate calls backward() or autograd.grad itself, which frees it. Leave the backward pass to the "
                + "library, or pass retain_graph: true there."
        ),
        ("does not require grad", "Does the loss delegate detach the model's output, or run under no_grad()?"),
        (
            MissingDerivative,
            "Write the operator out of others that have a derivative (attention as softmax(QK'/sqrt d)V), or detach() what no gradient "
                + "should flow through."
        ),
    ];

    /// <summary>Whether an exception from <see cref="Explain"/> says that an operator lacks a derivative.</summary>
    public static bool LacksDerivative(InfluenceException failure) =>
        failure.InnerException is { } cause && FirstLine(cause).Contains(MissingDerivative, StringComparison.Ordinal);

    /// <summary>The exception to throw in place of libtorch's.</summary>
    /// <param name="cause">What TorchSharp threw.</param>
    /// <param name="ids">The batch's; null where there is no batch.</param>
    public static InfluenceException Explain(Exception cause, IReadOnlyList<long>? ids)
    {
        var line = FirstLine(cause);
        var cure =
            s_cures.FirstOrDefault(c => line.Contains(c.Words, StringComparison.Ordinal)).Cure
            ?? "Does loss.sum().backward() in your own code fail likewise?";
        var examples = ids is null ? string.Empty : $" for the examples with ids {InfluenceException.List(ids)}";
        return new InfluenceException($"The backward pass{examples} failed: {line.TrimEnd('.')}. {cure}", cause) { ExampleIds = ids ?? [] };
    }

    /// <summary>libtorch's first line; the interpreter of TorchScript puts its own lines before it, and the name of an error.</summary>
    public static string FirstLine(Exception cause)
    {
        const string Begin = "\nRuntimeError: ";
        var message = cause.Message;
        var start = message.StartsWith("The following operation failed in the TorchScript interpreter", StringComparison.Ordinal)
            ? message.IndexOf(Begin, StringComparison.Ordinal)
            : -1;
        return (start < 0 ? message : message[(start + Begin.Length)..]).Split('\n')[0];
    }
}
