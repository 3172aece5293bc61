namespace Influence.Trees;

/// <summary>One tree of LightGBM: where a row goes at each node, and what each leaf adds.</summary>
internal sealed record Tree
{
    private const int CategoricalBit = 1;
    private const int DefaultLeftBit = 2;
    private const int MissingIsZero = 1;
    private const int MissingIsNaN = 2;
    private const double ZeroThreshold = 1e-35f;

    /// <summary>Node by node: the feature that it looks at.</summary>
    public required int[] Features { get; init; }

    /// <summary>Node by node: the largest value that goes left; of a categorical node the number of its set.</summary>
    public required double[] Thresholds { get; init; }

    /// <summary>Node by node: bit 0 categorical, bit 1 whether a missing value goes left, bits 2 and 3 what is missing (0 nothing, 1 zero,
    /// 2 not-a-number).</summary>
    public required int[] Decisions { get; init; }

    /// <summary>Node by node: the next node, or the complement of a leaf's number.</summary>
    public required int[] Left { get; init; }

    /// <inheritdoc cref="Left"/>
    public required int[] Right { get; init; }

    /// <summary>Sets of categories that go left, a bit each.</summary>
    public required uint[][] Sets { get; init; }

    /// <summary>What each leaf adds, learning rate included; those of the first iteration include the initial score.</summary>
    public required double[] Values { get; init; }

    /// <summary>The rate as the file has it: 1 where the initial score was added.</summary>
    public required double Shrinkage { get; init; }

    public bool IsConstant => Features.Length == 0;

    public int LeafOf(ReadOnlySpan<double> row)
    {
        if (IsConstant)
        {
            return 0;
        }

        var node = 0;
        while (node >= 0)
        {
            node = GoesLeft(node, row[Features[node]]) ? Left[node] : Right[node];
        }

        return ~node;
    }

    /// <summary>Whether a leaf was made by a categorical split, for which LightGBM may have used more regularisation.</summary>
    public bool[] CategoricalLeaves()
    {
        var leaves = new bool[Values.Length];
        for (var node = 0; node < Features.Length; node++)
        {
            foreach (var child in (int[])[Left[node], Right[node]])
            {
                if (child < 0)
                {
                    leaves[~child] = (Decisions[node] & CategoricalBit) != 0;
                }
            }
        }

        return leaves;
    }

    private bool GoesLeft(int node, double value)
    {
        var decision = Decisions[node];
        if ((decision & CategoricalBit) != 0)
        {
            // Not-a-number, negative numbers and categories that the training did not see go right.
            var set = Sets[(int)Thresholds[node]];
            return value >= 0 && value < set.Length * 32.0 && ((set[(int)value / 32] >> ((int)value % 32)) & 1) != 0;
        }

        var missing = (decision >> 2) & 3;
        if (double.IsNaN(value) && missing != MissingIsNaN)
        {
            value = 0;
        }

        return (missing == MissingIsZero && Math.Abs(value) <= ZeroThreshold) || (missing == MissingIsNaN && double.IsNaN(value))
            ? (decision & DefaultLeftBit) != 0
            : value <= Thresholds[node];
    }
}
