namespace Influence.Trees;

/// <summary>
/// LeafInfluence: the derivative of the query's loss by the example's weight, the structure as it is. Tree by tree, a leaf's value changes
/// by <c>-rate (sum of (dg_j + theta dh_j) + g_i + h_i theta) / (H + lambda)</c>: the example's own part in its leaf, and what the changes
/// so far do to the gradients and second derivatives of all examples j of the leaf. The score is the query's gradient at the final model
/// times its predicted change.
/// </summary>
/// <remarks>
/// Sharchilev et al., ICML 2018, equation 8; Brophy, Hammoudeh and Lowd, JMLR 2023. The initial score's derivative is part of it, and with
/// several classes the terms between classes, which the published code leaves out: it is the exact derivative of <see cref="LeafRefit"/>.
/// Cost: N T for each of N examples; memory N T numbers (2 N T with several classes). Needs a model whose leaf values follow from the
/// examples given, which is checked.
/// </remarks>
public sealed record LeafInfluence : TreeEstimator
{
    /// <summary>Whether the change of all examples' scores is followed, or of the example's own alone (published as an update set of
    /// 0).</summary>
    /// <value>True.</value>
    public bool Propagate { get; init; } = true;

    private protected override string Title => Propagate ? "LeafInfluence" : "LeafInfluence (own scores alone)";

    private protected override ScoreMetadata Metadata(string notes) =>
        new()
        {
            Estimator = Title,
            Checkpoints = "the final model",
            Unit = "loss of the query: its rise when the example is left out, to first order",
            LeaveOneOutFactor = 1,
            Curvature = "leaf values' derivative",
            Layers = "all trees, their structure as it is",
            Notes = notes,
        };

    private protected override string Compute(TreeWork work)
    {
        var (model, train) = (work.Model, work.Train);
        var (outputs, loss) = (model.Outputs, model.LossFunction);
        var fit = LeafFit.Of(model, train, work.Token);
        fit.RequireExact("LeafInfluence");
        var all = new LeafRefitter(fit);
        var raws = new List<double[]>();
        all.Run((_, raw) => raws.Add([.. raw]));
        var study = new Study(fit, all, raws, Propagate);

        // The queries' gradients at the final model.
        var readout = new LeafReadout(fit, work);
        double[] raw = new double[outputs],
            h = new double[outputs];
        var gradients = new double[work.Queries.Count][];
        for (var q = 0; q < gradients.Length; q++)
        {
            readout.Sum(q, all.Initial, all.Values, raw);
            gradients[q] = new double[outputs];
            loss.Derivatives(raw, work.Queries.TargetArray[q], gradients[q], h);
        }

        work.ForEachExample(
            "scoring, example by example",
            () => new Buffers(fit),
            (i, buffers) =>
            {
                study.Run(i, buffers);
                Span<double> change = stackalloc double[outputs];
                var (first, end) = work.QueriesOf(i);
                for (var q = first; q < end; q++)
                {
                    readout.Sum(q, buffers.Initial, buffers.Changes, change);
                    var score = 0.0;
                    for (var k = 0; k < outputs; k++)
                    {
                        score -= gradients[q][k] * change[k];
                    }

                    work.At(q, i) = score;
                }
            }
        );
        return string.Empty;
    }

    /// <summary>What one thread works with.</summary>
    private sealed class Buffers(LeafFit fit)
    {
        /// <summary>Tree by tree, the change of each leaf's value.</summary>
        public double[][] Changes { get; } = [.. fit.Theta.Select(t => new double[t.Length])];

        /// <summary>The change of each training example's raw scores so far.</summary>
        public double[] Raw { get; } = new double[fit.Train.Count * fit.Model.Outputs];

        public double[] Initial { get; set; } = [];
    }

    /// <summary>What is the same for each example: per iteration, how g + theta h changes with the raw scores.</summary>
    private sealed class Study
    {
        private readonly LeafFit _fit;
        private readonly double[][] _kept;
        private readonly double[][] _own;
        private readonly double[][] _curvatures;
        private readonly bool _propagate;

        public Study(LeafFit fit, LeafRefitter all, List<double[]> raws, bool propagate)
        {
            (_fit, _propagate) = (fit, propagate);
            var (loss, outputs, count) = (fit.Model.LossFunction, fit.Model.Outputs, fit.Train.Count);
            var width = outputs * loss.Kept;
            _kept = [.. raws.Select(_ => new double[count * width])];
            _own = [.. raws.Select(_ => new double[count * outputs])];
            _curvatures = [.. fit.Theta.Select(t => new double[t.Length])];
            double[] g = new double[outputs],
                h = new double[outputs],
                theta = new double[outputs];
            for (var iteration = 0; iteration < raws.Count; iteration++)
            {
                for (var i = 0; i < count; i++)
                {
                    var raw = raws[iteration].AsSpan(i * outputs, outputs);
                    loss.Derivatives(raw, fit.Train.TargetArray[i], g, h);
                    for (var k = 0; k < outputs; k++)
                    {
                        var tree = (iteration * outputs) + k;
                        var leaf = fit.Leaves[tree][i];
                        theta[k] = all.Values[tree][leaf] / fit.Rates[tree];
                        _own[iteration][(i * outputs) + k] = g[k] + (h[k] * theta[k]);
                        _curvatures[tree][leaf] += h[k];
                    }

                    loss.Prepare(raw, theta, _kept[iteration].AsSpan(i * width, width));
                }
            }

            for (var tree = 0; tree < _curvatures.Length; tree++)
            {
                for (var leaf = 0; leaf < _curvatures[tree].Length; leaf++)
                {
                    _curvatures[tree][leaf] += fit.Ridge[tree][leaf];
                }
            }
        }

        public void Run(int example, Buffers buffers)
        {
            var (model, raw) = (_fit.Model, buffers.Raw);
            var (loss, outputs) = (model.LossFunction, model.Outputs);
            var width = outputs * loss.Kept;
            var (first, end) = _propagate ? (0, _fit.Train.Count) : (example, example + 1);
            buffers.Initial =
                model.Settings.StartsFromAverage && _propagate ? loss.InitialChange(_fit.Train.TargetArray, example) : new double[outputs];
            for (var i = first; i < end; i++)
            {
                buffers.Initial.CopyTo(raw.AsSpan(i * outputs, outputs));
            }

            Span<double> change = stackalloc double[outputs];
            for (var iteration = 0; iteration < _kept.Length; iteration++)
            {
                var tree = iteration * outputs;
                for (var k = 0; k < outputs; k++)
                {
                    Array.Clear(buffers.Changes[tree + k]);
                    buffers.Changes[tree + k][_fit.Leaves[tree + k][example]] = _own[iteration][(example * outputs) + k];
                }

                for (var i = first; i < end; i++)
                {
                    loss.Change(_kept[iteration].AsSpan(i * width, width), raw.AsSpan(i * outputs, outputs), change);
                    for (var k = 0; k < outputs; k++)
                    {
                        buffers.Changes[tree + k][_fit.Leaves[tree + k][i]] += change[k];
                    }
                }

                for (var k = 0; k < outputs; k++)
                {
                    var changes = buffers.Changes[tree + k];
                    for (var leaf = 0; leaf < changes.Length; leaf++)
                    {
                        changes[leaf] = model.Trees[tree + k].IsConstant
                            ? 0
                            : -changes[leaf] / _curvatures[tree + k][leaf] * _fit.Rates[tree + k];
                    }

                    var leaves = _fit.Leaves[tree + k];
                    for (var i = first; i < end; i++)
                    {
                        raw[(i * outputs) + k] += changes[leaves[i]];
                    }
                }
            }
        }
    }
}
