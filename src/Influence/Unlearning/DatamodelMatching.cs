using System.Globalization;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// Datamodel matching (DMM): scores predict what a model retrained without the examples would put out, and the model is fine-tuned to put
/// that out:
/// <code>
/// target_c(x) = f_c(x) + r (sum over the examples z to forget of score_c(x, z))
/// minimise mean over x of (f(x; w') - target(x))^2
/// </code>
/// The scores are those of the outputs as measurements: of <c>Datamodels</c>, or of any estimator. Positive scores lower an output, so
/// without their examples it rises.
/// </summary>
/// <remarks>
/// r is the scores' <see cref="ScoreMetadata.LeaveOneOutFactor"/>, or 1 where they have none, as those of datamodels. The points x are the
/// queries of the scores, which are training examples here: those to forget and a sample of those to keep. With targets of retrained models
/// it learns their outputs. Sums of scores over many examples follow a tangent far out, and of one fit they carry its noise to every
/// point that is kept: the notes of the result say how far outputs are to move. Where that is far for points to keep, take more damping, or
/// the mean over several models. Cost: one forward pass for the targets and <see cref="Steps"/> steps. Reference: Georgiev et al.,
/// "Attribute-to-Delete", ICLR 2025.
/// </remarks>
public sealed record DatamodelMatching : UnlearningMethod
{
    private readonly IReadOnlyList<InfluenceScores> _scores;

    /// <summary>Takes the scores.</summary>
    /// <param name="scores">One for each output, all with the same queries: their ids are those of training examples. They stay the
    /// caller's.</param>
    /// <exception cref="InfluenceException">None, or queries that differ.</exception>
    public DatamodelMatching(params IReadOnlyList<InfluenceScores> scores)
    {
        ArgumentNullException.ThrowIfNull(scores);
        if (scores.Count == 0 || scores.Any(s => !s.QueryIds.SequenceEqual(scores[0].QueryIds)))
        {
            throw new InfluenceException(
                "Datamodel matching takes scores for each output, with the same queries in the same order: new "
                    + "DatamodelMatching(ofOutput0, ofOutput1) { Outputs = ... }."
            );
        }

        _scores = [.. scores];
    }

    /// <inheritdoc/>
    public override string Name => "datamodel matching";

    /// <summary>The outputs that the scores are about, <c>[B]</c> or <c>[B, C]</c>: logits, or a margin.</summary>
    public required Func<ExampleBatch, Tensor> Outputs
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    }

    /// <summary>The number of optimizer steps.</summary>
    /// <value>200.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Steps
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 200;

    /// <summary>Points in a step.</summary>
    /// <value>64.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int BatchSize
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 64;

    /// <summary>The learning rate of SGD, where no <see cref="Optimizer"/> is given.</summary>
    /// <value>0.01.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double LearningRate
    {
        get;
        init => field = Check.Positive(value);
    } = 0.01;

    /// <summary>Makes an optimizer over the model's parameters; it is disposed.</summary>
    /// <value>Null: SGD.</value>
    public Func<nn.Module, optim.Optimizer>? Optimizer { get; init; }

    /// <summary>Of the order of the batches.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    private protected override IEnumerable<string> Problems(Examples train, IReadOnlySet<long> forget, IReadOnlySet<long> keep)
    {
        if (_scores[0].QueryIds.Except(forget).Except(keep).ToList() is { Count: > 0 } foreign)
        {
            yield return "The queries of the scores are examples to forget or to keep; these are neither: ids "
                + $"{InfluenceException.List(foreign)}.";
        }

        foreach (
            var missing in _scores.Select(scores => forget.Except(scores.TrainIds).ToList()).Where(missing => missing.Count > 0).Take(1)
        )
        {
            yield return $"The scores lack examples to forget: ids {InfluenceException.List(missing)}. Score all of them, for outputs as "
                + "the measurement.";
        }
    }

    private protected override void Move(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        var points = run.Train.Only(_scores[0].QueryIds);
        var targets = Targets(run, points);
        var pending = new Queue<long>();
        var pass = 0;
        var positions = run.Train.Ids.Index().ToDictionary(p => p.Item, p => p.Index);
        var last = run.Descend(
            Optimizer,
            LearningRate,
            null,
            Steps,
            _ =>
            {
                if (pending.Count == 0)
                {
                    var key = KeyedRandom.Key(Seed + pass++, "points to match");
                    pending = new Queue<long>(KeyedRandom.Shuffled(points.Ids, key, id => id));
                }

                var batchIds = new HashSet<long>();
                while (batchIds.Count < BatchSize && pending.Count > 0)
                {
                    batchIds.Add(pending.Dequeue());
                }

                Tensor? sum = null;
                foreach (
                    var batch in run.Train.IsIndexable
                        ? run.Train.Gathered([.. batchIds.Select(id => positions[id]).Order()])
                        : run.Train.Only(batchIds).Batches()
                )
                {
                    // [B C]
                    var wanted = tensor(
                        batch.Ids.SelectMany(id => targets[id]).ToArray(),
                        dtype: run.Layout.Dtype,
                        device: run.Layout.Device
                    );
                    var error = (Flat(batch) - wanted).Squared().sum();
                    sum = sum is null ? error : sum + error;
                }

                return (sum! / Kept(batchIds.Count), batchIds.Count);
            }
        );
        run.Notes.Add(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{points.Count:N0} points; mean squared distance to their targets in the last batch {last:G3}"
            )
        );
    }

    private Dictionary<long, double[]> Targets(UnlearningRun run, Examples points)
    {
        var found = new Dictionary<long, double[]>();
        var forget = run.Forget.Ids.ToHashSet();
        var shifts = _scores.Select(scores => Shifts(scores, forget)).ToList();
        run.Notes.Add(Sizes(shifts, forget));
        foreach (var batch in points.Batches())
        {
            using var scope = NewDisposeScope();
            run.Reporter.Token.ThrowIfCancellationRequested();
            var outputs = Flat(batch).to_type(ScalarType.Float64).cpu().data<double>().ToArray();
            for (var i = 0; i < batch.Count; i++)
            {
                found.Add(
                    batch.Ids[i],
                    [.. Enumerable.Range(0, _scores.Count).Select(c => outputs[(i * _scores.Count) + c] + shifts[c][batch.Ids[i]])]
                );
            }
        }

        if (found.Values.Any(values => values.Any(value => !double.IsFinite(value))))
        {
            throw new InfluenceException("Targets of datamodel matching are NaN or infinite: look at the scores.");
        }

        return found;
    }

    /// <summary>How far the scores want outputs to move: far of what is kept is a sign of scores that cannot be summed so.</summary>
    private static string Sizes(List<Dictionary<long, double>> shifts, HashSet<long> forget)
    {
        return string.Create(
            CultureInfo.InvariantCulture,
            $"the scores move outputs of points to forget by {Mean(forgotten: true):G3} on the average of magnitudes, of points to keep by "
                + $"{Mean(forgotten: false):G3}"
        );

        double Mean(bool forgotten) =>
            shifts
                .SelectMany(of => of.Where(shift => forget.Contains(shift.Key) == forgotten).Select(shift => Math.Abs(shift.Value)))
                .DefaultIfEmpty(0)
                .Average();
    }

    private static Dictionary<long, double> Shifts(InfluenceScores scores, HashSet<long> forget)
    {
        using var scope = NewDisposeScope();
        long[] columns =
        [
            .. Enumerable.Range(0, scores.TrainIds.Count).Where(c => forget.Contains(scores.TrainIds[c])).Select(c => (long)c),
        ];
        // Q
        var sums = scores.Values.to_type(ScalarType.Float64).cpu().index_select(1, tensor(columns)).sum(1).data<double>().ToArray();
        var factor = scores.Metadata.LeaveOneOutFactor ?? 1;
        return scores.QueryIds.Index().ToDictionary(query => query.Item, query => factor * sums[query.Index]);
    }

    /// <summary>The outputs example by example, <c>[B C]</c>.</summary>
    private Tensor Flat(ExampleBatch batch)
    {
        using var callback = ModelInUse.CallingBack("Outputs");
        var outputs = Outputs(batch);
        return outputs.dim() is 1 or 2 && outputs.shape[0] == batch.Count && outputs.numel() == (long)batch.Count * _scores.Count
            ? outputs.reshape(-1)
            : throw new InfluenceException(
                $"Outputs gives [{string.Join(", ", outputs.shape)}] for {batch.Count} examples; there are scores for {_scores.Count} "
                    + $"outputs: expected [{batch.Count}{(_scores.Count == 1 ? string.Empty : $", {_scores.Count}")}]."
            );
    }
}
