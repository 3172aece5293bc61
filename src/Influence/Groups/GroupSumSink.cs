using Influence.Estimators;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>Keeps of the scores each group's sum and sum of squares, float64 <c>[Q, m]</c>.</summary>
/// <param name="groups">m groups of training examples.</param>
internal sealed class GroupSumSink(ExampleGroups groups) : ScoreSink
{
    private readonly Dictionary<string, int> _columns = groups
        .Names.Select((name, column) => (name, column))
        .ToDictionary(g => g.name, g => g.column);
    private Tensor? _sums;
    private Tensor? _squares;

    /// <summary>The sums, with the standard error of each as a draw of so many examples from a larger population.</summary>
    public GroupScores Finish(ScoreMetadata metadata)
    {
        CheckComplete();
        var (sums, squares) = (Matrix(_sums!), Matrix(_squares!));
        var errors = new double[sums.GetLength(0), sums.GetLength(1)];
        for (var q = 0; q < errors.GetLength(0); q++)
        {
            for (var g = 0; g < errors.GetLength(1); g++)
            {
                double members = groups[groups.Names[g]].Count;
                var variance = (squares[q, g] - (sums[q, g] * sums[q, g] / members)) / (members - 1);
                errors[q, g] = members < 2 ? double.NaN : Math.Sqrt(Math.Max(0, variance) * members);
            }
        }

        return new GroupScores(
            sums,
            [.. QueryIds.Select(id => id < 0 ? "the queries together" : $"query {id}")],
            [
                .. groups.Names.Select(name => new GroupScores.Row(name, groups[name].Count, groups[name].Count)
                {
                    Blocks = groups[name].Count,
                }),
            ],
            metadata with
            {
                Estimator = $"sums by group, {metadata.Estimator}",
            },
            errors
        );
    }

    protected override void Start()
    {
        _sums = zeros([QueryIds.Count, groups.Names.Count], ScalarType.Float64).DetachFromDisposeScope();
        _squares = zeros_like(_sums).DetachFromDisposeScope();
    }

    protected override void Take(int query, int train, Tensor values)
    {
        using var scope = NewDisposeScope();
        var (columns, members) = (new List<long>(), new List<long>());
        for (var i = 0; i < (int)values.shape[1]; i++)
        {
            foreach (var group in groups.GroupsOf.GetValueOrDefault(TrainIds[train + i], []))
            {
                columns.Add(_columns[group]);
                members.Add(i);
            }
        }

        if (members.Count == 0)
        {
            return;
        }

        var place = tensor(columns.ToArray()); // [M]
        var scores = values.index_select(1, tensor(members.ToArray())).to_type(ScalarType.Float64); // [q, M]
        _sums!.narrow(0, query, values.shape[0]).index_add_(1, place, scores, Kept(1));
        _squares!.narrow(0, query, values.shape[0]).index_add_(1, place, scores.Squared(), Kept(1));
    }

    protected override void Dispose(bool disposing)
    {
        _sums?.Dispose();
        _squares?.Dispose();
        base.Dispose(disposing);
    }

    private static double[,] Matrix(Tensor values)
    {
        var numbers = values.data<double>().ToArray();
        var matrix = new double[values.shape[0], values.shape[1]];
        Buffer.BlockCopy(numbers, 0, matrix, 0, numbers.Length * sizeof(double));
        return matrix;
    }
}
