using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Interchange;

/// <summary>
/// Reads scores that other tools wrote, with the ids that they do not keep. What is read is whole or refused; nobody vouches for its bytes,
/// so <see cref="ScoreMetadata.Integrity"/> says "unverified".
/// </summary>
public static class ForeignScores
{
    private const string AllModules = "all_modules";

    /// <summary>
    /// Scores of a safetensors file, by the tensor's name: what captum's <c>influence</c> returns (<c>[queries, train]</c>), or dattri's
    /// <c>attribute</c> (<c>[train, queries]</c>), once <c>safetensors.torch.save_file({"scores": x}, path)</c> wrote it.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="tensor">The tensor's name.</param>
    /// <param name="metadata">How the scores were made and how to read them; the file does not say.</param>
    /// <param name="trainFirst">Whether the rows are the training examples, as dattri's are.</param>
    /// <param name="queryIds">The queries' ids; null for 0, 1, 2, ...</param>
    /// <param name="trainIds">The training examples' ids; null for 0, 1, 2, ...</param>
    /// <returns>The scores; the caller disposes them. Float16 and bfloat16 become float32.</returns>
    /// <exception cref="InfluenceException">There is no such matrix of a float type, or ids that do not fit.</exception>
    public static InfluenceScores FromSafetensors(
        string path,
        string tensor,
        ScoreMetadata metadata,
        bool trainFirst = false,
        IReadOnlyList<long>? queryIds = null,
        IReadOnlyList<long>? trainIds = null
    )
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(metadata);
        using var scope = NewDisposeScope();
        using var file = SafetensorsFile.Open(path);
        var values = Floats(file.Read(tensor), path);
        return Scores(
            values.dim() == 1 ? values.unsqueeze(trainFirst ? 1 : 0) : values,
            path,
            trainFirst,
            queryIds,
            trainIds,
            metadata with
            {
                Integrity = file.Integrity,
            }
        );
    }

    /// <summary>
    /// Pairwise scores of kronfluence, <c>pairwise_scores.safetensors</c>: the tensor <c>all_modules</c>, or, of a file that has one for
    /// each module, their sum.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="module">One module alone; null for all.</param>
    /// <param name="queryIds">The queries' ids; null for their positions in the query set.</param>
    /// <param name="trainIds">The training examples' ids; null for their positions in the training set.</param>
    /// <returns>The scores, <c>[queries, train]</c>; the caller disposes them. Float16 and bfloat16 become float32.</returns>
    /// <exception cref="InfluenceException">The file holds no such scores, self-influence for instance.</exception>
    public static InfluenceScores FromKronfluence(
        string path,
        string? module = null,
        IReadOnlyList<long>? queryIds = null,
        IReadOnlyList<long>? trainIds = null
    )
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        var (values, metadata) = Kronfluence(path, module);
        return values.dim() == 2
            ? Scores(values, path, trainFirst: false, queryIds, trainIds, metadata)
            : throw new InfluenceException(
                $"{path} holds scores of shape [{string.Join(", ", values.shape)}]; expected [queries, train]. Self-influence is read by "
                    + "ForeignScores.SelfFromKronfluence(path)."
            );
    }

    /// <summary>Self-influence of kronfluence, <c>self_scores.safetensors</c>: as <see cref="FromKronfluence"/>.</summary>
    /// <param name="path">The file.</param>
    /// <param name="module">One module alone; null for all.</param>
    /// <param name="ids">The examples' ids; null for their positions.</param>
    /// <returns>The scores.</returns>
    /// <exception cref="InfluenceException">The file holds no such scores.</exception>
    public static ExampleScores SelfFromKronfluence(string path, string? module = null, IReadOnlyList<long>? ids = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        var (values, metadata) = Kronfluence(path, module);
        if (values.dim() != 1)
        {
            throw new InfluenceException(
                $"{path} holds scores of shape [{string.Join(", ", values.shape)}]; expected [train]. Pairwise scores are read by "
                    + "ForeignScores.FromKronfluence(path)."
            );
        }

        var chosen = Ids("examples", values.shape[0], ids);
        InfluenceException.ThrowIfAny(chosen.Distinct().Count() == chosen.Count ? [] : ["Ids may not repeat."]);
        return new ExampleScores(
            "Self-influence, kronfluence",
            chosen,
            values.to_type(ScalarType.Float64).contiguous().data<double>().ToArray(),
            metadata with
            {
                Sign = "high = the model had to learn the example by heart",
            }
        );
    }

    /// <summary>
    /// Scores of TRAK, <c>scores/EXPERIMENT.mmap</c> in its folder: an array of NumPy's format, <c>[train, targets]</c>, that is turned to
    /// <c>[queries, train]</c>.
    /// </summary>
    /// <param name="path">The file; of any other array of NumPy's, training examples first, as well.</param>
    /// <param name="queryIds">The targets' ids; null for their positions.</param>
    /// <param name="trainIds">The training examples' ids; null for their positions in the loader that featurised them.</param>
    /// <returns>The scores; the caller disposes them. Float16 becomes float32.</returns>
    /// <exception cref="InfluenceException">The file is no matrix of a float type.</exception>
    public static InfluenceScores FromTrak(string path, IReadOnlyList<long>? queryIds = null, IReadOnlyList<long>? trainIds = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        return Scores(
            Floats(Npy.Load(path), path),
            path,
            trainFirst: true,
            queryIds,
            trainIds,
            new ScoreMetadata
            {
                Estimator = "TRAK",
                Checkpoints = "unknown: those that were scored",
                Sign = "positive = proponent: training on the example raises the target's model output, a margin for classifiers",
                Unit = "model output",
                Layers = "unknown",
                Coverage = double.NaN,
                Integrity = SafetensorsChecksum.Unverified,
            }
        );
    }

    /// <summary>
    /// Scores of bergson: a folder with <c>scores.bin</c>, a memory-mapped table of records, one for each training example with one score
    /// for each query, and <c>info.json</c>, which lays it out.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="queryIds">The queries' ids; null for 0, 1, 2, ...</param>
    /// <param name="trainIds">The training examples' ids; null for their positions in the data set.</param>
    /// <param name="sign">What a positive score means; the folder does not say.</param>
    /// <returns>The scores; the caller disposes them. Float16 and bfloat16 become float32.</returns>
    /// <exception cref="InfluenceException">A file is missing or does not fit the other, or a score was never written: the run did not
    /// end.</exception>
    public static InfluenceScores FromBergson(
        string folder,
        IReadOnlyList<long>? queryIds = null,
        IReadOnlyList<long>? trainIds = null,
        string sign = "unknown: as the run's configuration says"
    )
    {
        ArgumentNullException.ThrowIfNull(folder);
        using var scope = NewDisposeScope();
        return Scores(
            BergsonFile.Read(folder),
            folder,
            trainFirst: false,
            queryIds,
            trainIds,
            new ScoreMetadata
            {
                Estimator = "bergson",
                Checkpoints = "unknown",
                Sign = sign,
                Unit = "unknown",
                Layers = "unknown",
                Coverage = double.NaN,
                Integrity = SafetensorsChecksum.Unverified,
            }
        );
    }

    private static (Tensor Values, ScoreMetadata Metadata) Kronfluence(string path, string? module)
    {
        using var file = SafetensorsFile.Open(path);
        var name = module ?? (file.Entries.ContainsKey(AllModules) ? AllModules : null);
        string[] names = name is null ? [.. file.Entries.Keys.Order(StringComparer.Ordinal)] : [name];
        if (names.Length == 0)
        {
            throw new InfluenceException($"{path} holds no scores.");
        }

        // A score over several modules is the sum of theirs: the curvature is taken block by block.
        var values = Floats(file.Read(names[0]), path);
        foreach (var other in names.Skip(1))
        {
            var more = Floats(file.Read(other), path);
            if (!more.shape.SequenceEqual(values.shape))
            {
                throw new InfluenceException(
                    $"{path}: \"{PlainText.Name(other)}\" is [{string.Join(", ", more.shape)}] and \"{PlainText.Name(names[0])}\" "
                        + $"is [{string.Join(", ", values.shape)}]; a file of scores has one size. Name a module: FromKronfluence(path, "
                        + "module: ...)."
                );
            }

            values = values.add(more);
        }

        return (
            values,
            new ScoreMetadata
            {
                Estimator = "kronfluence",
                Checkpoints = "unknown",
                Unit = "inner product of gradients, preconditioned as the factors' arguments say",
                Curvature = "unknown: the factors that the scores were made with",
                Layers = module ?? (name is null ? $"the sum of {names.Length} modules" : "all modules"),
                Coverage = double.NaN,
                Integrity = file.Integrity,
            }
        );
    }

    private static Tensor Floats(Tensor values, string path) =>
        values.dtype switch
        {
            ScalarType.Float32 or ScalarType.Float64 => values,
            ScalarType.Float16 or ScalarType.BFloat16 => values.to_type(ScalarType.Float32),
            var other => throw new InfluenceException($"{path} has scores of type {other}; expected a float type."),
        };

    private static InfluenceScores Scores(
        Tensor values,
        string path,
        bool trainFirst,
        IReadOnlyList<long>? queryIds,
        IReadOnlyList<long>? trainIds,
        ScoreMetadata metadata
    )
    {
        if (values.dim() != 2)
        {
            throw new InfluenceException(
                $"{path} has scores of shape [{string.Join(", ", values.shape)}]; expected "
                    + $"{(trainFirst ? "[train, queries]" : "[queries, train]")}."
            );
        }

        values = trainFirst ? values.t().contiguous() : values;
        return new InfluenceScores(
            values,
            Ids("queries", values.shape[0], queryIds),
            Ids("training examples", values.shape[1], trainIds),
            metadata
        );
    }

    private static IReadOnlyList<long> Ids(string what, long count, IReadOnlyList<long>? ids)
    {
        if (ids is null)
        {
            return [.. Enumerable.Range(0, checked((int)count)).Select(i => (long)i)];
        }

        return ids.Count == count
            ? ids
            : throw new InfluenceException($"The file has scores of {count:N0} {what}; found {ids.Count:N0} ids for them.");
    }
}
