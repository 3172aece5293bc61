namespace Influence.Trees;

/// <summary>How alike two examples are by the leaves that they share: <c>k(a, b) = sum over trees of [same leaf] w(leaf)^2</c>.</summary>
public enum TreeKernel
{
    /// <summary>w = 1 / (training examples of the leaf): small leaves say more. The default of the published methods.</summary>
    WeightedLeafPath,

    /// <summary>w = 1: the number of shared leaves.</summary>
    LeafPath,

    /// <summary>w = the leaf's value without the initial score: trees that move the prediction more say more.</summary>
    LeafOutput,
}

/// <summary>Features of a kernel: of each example one number for each tree, at the place of its leaf.</summary>
internal sealed class TreeKernelFeatures
{
    private readonly double[][] _weights;

    public TreeKernelFeatures(TreeWork work, TreeKernel kernel)
    {
        var (model, train) = (work.Model, work.Train);
        Train = LeafFit.LeavesOf(model, train, work.Token);
        Queries = work.Pairs ? LeafFit.LeavesOf(model, work.Queries, work.Token) : Train;
        var initial = model.Start(train.TargetArray);
        _weights =
        [
            .. model.Trees.Select(
                (tree, t) =>
                    tree.IsConstant
                        ? [0.0]
                        : kernel switch
                        {
                            TreeKernel.LeafPath => [.. tree.Values.Select(_ => 1.0)],
                            TreeKernel.LeafOutput => Array.ConvertAll(tree.Values, v => v - (t < model.Outputs ? initial[t] : 0)),
                            _ => Counts(Train[t], tree.Values.Length),
                        }
            ),
        ];
        Starts = new int[_weights.Length];
        for (var t = 1; t < _weights.Length; t++)
        {
            Starts[t] = Starts[t - 1] + _weights[t - 1].Length;
        }

        Columns = Starts[^1] + _weights[^1].Length;
    }

    /// <summary>Tree by tree, each training example's leaf.</summary>
    public int[][] Train { get; }

    public int[][] Queries { get; }

    /// <summary>Tree by tree, the column of its first leaf.</summary>
    public int[] Starts { get; }

    public int Columns { get; }

    public int Trees => _weights.Length;

    public double Weight(int tree, int leaf) => _weights[tree][leaf];

    /// <summary>Kernel values of a query with all training examples.</summary>
    public double[] Row(int query, LeafMembers[] members)
    {
        var row = new double[Train[0].Length];
        for (var t = 0; t < Trees; t++)
        {
            var leaf = Queries[t][query];
            var weight = _weights[t][leaf] * _weights[t][leaf];
            foreach (var i in members[t].In(leaf))
            {
                row[i] += weight;
            }
        }

        return row;
    }

    public double Self(int[][] leaves, int example) =>
        Enumerable.Range(0, Trees).Sum(t => _weights[t][leaves[t][example]] * _weights[t][leaves[t][example]]);

    public LeafMembers[] Members() => [.. Train.Select((leaves, t) => LeafMembers.Of(leaves, _weights[t].Length))];

    private static double[] Counts(int[] leaves, int count)
    {
        var counts = new double[count];
        foreach (var leaf in leaves)
        {
            counts[leaf]++;
        }

        return Array.ConvertAll(counts, c => c == 0 ? 0 : 1 / c);
    }
}
