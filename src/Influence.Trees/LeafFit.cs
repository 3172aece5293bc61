namespace Influence.Trees;

/// <summary>
/// The trees' structure with the training examples in it: which leaf each falls in, and the leaf values that follow from gradients,
/// <c>theta = -G / (H + lambda)</c> with G and H summed over the leaf, times the learning rate.
/// </summary>
internal sealed class LeafFit
{
    /// <summary>LightGBM keeps gradients and targets in single precision; its leaf values differ from ours by that, far less than by
    /// another target or weight.</summary>
    private const double Tolerance = 1e-4;

    private string _mismatch = string.Empty;

    private LeafFit(BoostedTrees model, TabularExamples train, CancellationToken token)
    {
        (Model, Train) = (model, train);
        var loss = model.LossFunction;
        Leaves = LeavesOf(model, train, token);
        Rates = [.. model.Trees.Select((tree, t) => model.Settings.RateOf(tree, t < model.Outputs))];
        Initial = model.Start(train.TargetArray);
        Theta =
        [
            .. model.Trees.Select(
                (tree, t) =>
                    tree.IsConstant
                        ? new double[1]
                        : Array.ConvertAll(tree.Values, v => (v - (t < model.Outputs ? Initial[t] : 0)) / Rates[t])
            ),
        ];
        Ridge = [.. model.Trees.Select(tree => Enumerable.Repeat(model.L2, tree.Values.Length).ToArray())];
        Hessians = [.. model.Trees.Select(tree => new double[tree.Values.Length])];
    }

    public BoostedTrees Model { get; }

    public TabularExamples Train { get; }

    /// <summary>Tree by tree, each training example's leaf.</summary>
    public int[][] Leaves { get; }

    public double[] Rates { get; }

    /// <summary>The score from which boosting started.</summary>
    public double[] Initial { get; }

    /// <summary>Tree by tree and leaf by leaf, the file's value without learning rate and initial score.</summary>
    public double[][] Theta { get; }

    /// <summary>Tree by tree and leaf by leaf, lambda.</summary>
    public double[][] Ridge { get; }

    /// <summary>Tree by tree and leaf by leaf, H + lambda.</summary>
    public double[][] Hessians { get; }

    public static LeafFit Of(BoostedTrees model, TabularExamples train, CancellationToken token)
    {
        var fit = new LeafFit(model, train, token);
        fit.Measure(token);
        return fit;
    }

    public static int[][] LeavesOf(BoostedTrees model, TabularExamples examples, CancellationToken token)
    {
        var leaves = new int[model.Trees.Count][];
        for (var t = 0; t < leaves.Length; t++)
        {
            token.ThrowIfCancellationRequested();
            leaves[t] = new int[examples.Count];
            for (var i = 0; i < examples.Count; i++)
            {
                leaves[t][i] = model.Trees[t].LeafOf(examples.Row(i));
            }
        }

        return leaves;
    }

    /// <summary>Goes through the iterations as they were: each time with the raw scores <c>[N * K]</c> before it.</summary>
    /// <param name="examples">Examples.</param>
    /// <param name="leaves">Their leaves, tree by tree.</param>
    /// <param name="visit">Given the iteration and the raw scores before it.</param>
    /// <param name="token">Checked before each iteration.</param>
    public void Replay(TabularExamples examples, int[][] leaves, Action<int, double[]> visit, CancellationToken token)
    {
        var outputs = Model.Outputs;
        var raw = new double[examples.Count * outputs];
        for (var i = 0; i < raw.Length; i++)
        {
            raw[i] = Initial[i % outputs];
        }

        for (var iteration = 0; iteration < Model.Iterations; iteration++)
        {
            token.ThrowIfCancellationRequested();
            visit(iteration, raw);
            for (var k = 0; k < outputs; k++)
            {
                var (tree, own) = ((iteration * outputs) + k, leaves[(iteration * outputs) + k]);
                for (var i = 0; i < own.Length; i++)
                {
                    raw[(i * outputs) + k] += Theta[tree][own[i]] * Rates[tree];
                }
            }
        }
    }

    /// <summary>Throws where the leaf values do not follow from these examples: what would be refitted then is another model.</summary>
    public void RequireExact(string method)
    {
        if (Model.Settings.IsDart || Model.Settings.Odd.Count > 0)
        {
            var reasons = string.Join(", ", Model.Settings.Odd.Concat(Model.Settings.IsDart ? ["boosting = dart"] : []));
            throw new InfluenceException(
                $"{method} refits leaf values from all training examples, and this model's were made otherwise: "
                    + $"{reasons}. Train without it, or score by new BoostIn()."
            );
        }

        if (_mismatch.Length > 0)
        {
            throw new InfluenceException(
                $"{method} refits leaf values, and those of the model do not follow from these training examples: {_mismatch}. "
                    + "Give the examples and targets of the training, all of them; examples with weights and own initial scores are not "
                    + "refitted. new BoostIn() needs no refit."
            );
        }
    }

    private void Measure(CancellationToken token)
    {
        var loss = Model.LossFunction;
        var outputs = Model.Outputs;
        var largest = Model.Trees.Select((tree, t) => Theta[t].Max(v => Math.Abs(v * Rates[t]))).Max();
        double[] g = new double[outputs],
            h = new double[outputs];
        Replay(
            Train,
            Leaves,
            (iteration, raw) =>
            {
                var first = iteration * outputs;
                double[][] sums = [.. Enumerable.Range(first, outputs).Select(t => new double[Theta[t].Length])];
                for (var i = 0; i < Train.Count; i++)
                {
                    loss.Derivatives(raw.AsSpan(i * outputs, outputs), Train.TargetArray[i], g, h);
                    for (var k = 0; k < outputs; k++)
                    {
                        sums[k][Leaves[first + k][i]] += g[k];
                        Hessians[first + k][Leaves[first + k][i]] += h[k];
                    }
                }

                for (var k = 0; k < outputs; k++)
                {
                    Settle(first + k, sums[k], largest);
                }
            },
            token
        );
    }

    /// <summary>Of a leaf that a categorical split made, finds which of two regularisations LightGBM used; then compares values.</summary>
    private void Settle(int tree, double[] gradients, double largest)
    {
        if (Model.Trees[tree].IsConstant)
        {
            return;
        }

        var categorical = Model.Trees[tree].CategoricalLeaves();
        for (var leaf = 0; leaf < gradients.Length; leaf++)
        {
            var more = Model.L2 + Model.Settings.CategoricalL2;
            if (categorical[leaf] && Difference(more) < Difference(Model.L2))
            {
                Ridge[tree][leaf] = more;
            }

            var difference = Difference(Ridge[tree][leaf]);
            Hessians[tree][leaf] += Ridge[tree][leaf];
            if (!(difference * Rates[tree] <= Tolerance * largest) && _mismatch.Length == 0)
            {
                _mismatch = string.Create(
                    System.Globalization.CultureInfo.InvariantCulture,
                    $"leaf {leaf} of tree {tree} has the value {Theta[tree][leaf] * Rates[tree]:G6} beyond the initial score, and "
                        + $"{-gradients[leaf] / Hessians[tree][leaf] * Rates[tree]:G6} follows"
                );
            }

            double Difference(double ridge) => Math.Abs(Theta[tree][leaf] - (-gradients[leaf] / (Hessians[tree][leaf] + ridge)));
        }
    }
}
