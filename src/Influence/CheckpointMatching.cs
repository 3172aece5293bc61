namespace Influence;

/// <summary>
/// How the tensors of a checkpoint meet those of a model, where a file is another tool's. What was done is told by
/// <see cref="Checkpoint.LoadInto"/>.
/// </summary>
/// <remarks>
/// Without any of this, names and shapes must be the same, but for what has one reading only: float16, bfloat16, float32 and float64 become
/// the model's float type, a weight that the model ties and the file has once is used at each place, and <c>num_batches_tracked</c> may be missing.
/// </remarks>
/// <example>
/// <code>
/// var names = new CheckpointMatching { Rename = name => name.Replace("transformer.h.", "layers."), Lenient = true };
/// var checkpoint = Checkpoint.FromFile("model.safetensors", learningRate: 1e-4, names);
/// foreach (var note in checkpoint.LoadInto(model)) Console.WriteLine(note);
/// </code>
/// </example>
public sealed record CheckpointMatching
{
    /// <summary>From a tensor's name in the file to its name in the model; null leaves the tensor out.</summary>
    /// <value>Null: the names are the same.</value>
    public Func<string, string?>? Rename { get; init; }

    /// <summary>
    /// Whether what does not meet is passed over: tensors that the model lacks are left out, buffers and frozen parameters that the file lacks stay as they
    /// are in the model, and the prefixes of wrappers, <c>module.</c> and <c>_orig_mod.</c>, are taken off. A trainable parameter that the file lacks, another
    /// shape or another kind of number is refused all the same.
    /// </summary>
    /// <value>False.</value>
    public bool Lenient { get; init; }
}
