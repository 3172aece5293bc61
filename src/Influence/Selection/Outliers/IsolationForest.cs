using Influence.Numerics;

namespace Influence.Selection;

/// <summary>
/// How easily a row is cut off from the others by random cuts of random columns: <c>2^(-mean depth / c(n))</c>, near 1 for outliers, below
/// one half for the rest, with c(n) the mean depth of an unsuccessful search in a binary tree of n.
/// </summary>
/// <remarks>Liu, Ting, Zhou, "Isolation Forest", ICDM 2008. Trees follow from the seed and the rows alone. O(trees (n + sample) log
/// sample).</remarks>
internal static class IsolationForest
{
    private const double EulerGamma = 0.57721566490153286;

    /// <param name="rows">n rows of d numbers, in an order that is the same at each call.</param>
    /// <param name="trees">The number of trees.</param>
    /// <param name="sample">Rows that a tree is grown on, at most.</param>
    /// <param name="seed">Of the draws.</param>
    /// <param name="token">Checked before each tree.</param>
    public static double[] Scores(double[][] rows, int trees, int sample, long seed, CancellationToken token)
    {
        var size = Math.Min(sample, rows.Length);
        var limit = (int)Math.Ceiling(Math.Log2(Math.Max(2, size)));
        var depths = new double[rows.Length];
        for (var tree = 0; tree < trees; tree++)
        {
            token.ThrowIfCancellationRequested();
            var random = new KeyedRandom(seed, "isolation tree", tree);
            int[] drawn = [.. random.Order(rows.Length).Take(size)];
            var root = Grow(rows, drawn, limit, random);
            for (var i = 0; i < rows.Length; i++)
            {
                depths[i] += root.Depth(rows[i]);
            }
        }

        var mean = PathLength(size);
        return Array.ConvertAll(depths, depth => mean == 0 ? 0.5 : Math.Pow(2, -depth / trees / mean));
    }

    /// <summary>c(n).</summary>
    internal static double PathLength(int n) =>
        n <= 1 ? 0
        : n == 2 ? 1
        : (2 * (Math.Log(n - 1) + EulerGamma)) - (2.0 * (n - 1) / n);

    private static Node Grow(double[][] rows, int[] members, int left, KeyedRandom random)
    {
        if (members.Length <= 1 || left == 0)
        {
            return new Node(members.Length);
        }

        // A column in which these rows differ; where there is none they cannot be cut.
        int[] open = [.. Enumerable.Range(0, rows[0].Length).Where(c => members.Any(m => rows[m][c] != rows[members[0]][c]))];
        if (open.Length == 0)
        {
            return new Node(members.Length);
        }

        var column = open[random.Below(open.Length)];
        var (low, high) = (members.Min(m => rows[m][column]), members.Max(m => rows[m][column]));
        var cut = low + (random.NextDouble() * (high - low));
        return new Node(members.Length)
        {
            Column = column,
            Cut = cut,
            Below = Grow(rows, [.. members.Where(m => rows[m][column] <= cut)], left - 1, random),
            Above = Grow(rows, [.. members.Where(m => rows[m][column] > cut)], left - 1, random),
        };
    }

    private sealed class Node(int size)
    {
        public int Column { get; init; }

        public double Cut { get; init; }

        public Node? Below { get; init; }

        public Node? Above { get; init; }

        public double Depth(double[] row)
        {
            var (node, depth) = (this, 0);
            while (node.Below is not null)
            {
                node = row[node.Column] <= node.Cut ? node.Below : node.Above!;
                depth++;
            }

            return depth + PathLength(node.Size);
        }

        private int Size => size;
    }
}
