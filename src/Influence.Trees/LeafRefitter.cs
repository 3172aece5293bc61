namespace Influence.Trees;

/// <summary>Fits all leaf values again, with weights on the training examples and the structure as it is: boosting, without the search for
/// splits. One thread's buffers.</summary>
internal sealed class LeafRefitter
{
    private readonly LeafFit _fit;
    private readonly double[] _raw;
    private readonly double[][] _gradients;
    private readonly double[][] _hessians;

    public LeafRefitter(LeafFit fit)
    {
        _fit = fit;
        _raw = new double[fit.Train.Count * fit.Model.Outputs];
        _gradients = [.. fit.Theta.Select(t => new double[t.Length])];
        _hessians = [.. fit.Theta.Select(t => new double[t.Length])];
        Values = [.. fit.Theta.Select(t => new double[t.Length])];
        Weights = new double[fit.Train.Count];
        Array.Fill(Weights, 1);
    }

    /// <summary>The training examples' weights; 0 leaves out.</summary>
    public double[] Weights { get; }

    /// <summary>Tree by tree, what each leaf adds, learning rate included.</summary>
    public double[][] Values { get; }

    public double[] Initial { get; private set; } = [];

    /// <param name="visit">Given each iteration's number and the raw scores before it, where wanted.</param>
    public void Run(Action<int, double[]>? visit = null)
    {
        var (model, train) = (_fit.Model, _fit.Train);
        var outputs = model.Outputs;
        var loss = model.LossFunction;
        Initial = model.Start(train.TargetArray, Weights);
        for (var i = 0; i < _raw.Length; i++)
        {
            _raw[i] = Initial[i % outputs];
        }

        Span<double> g = stackalloc double[outputs],
            h = stackalloc double[outputs];
        for (var first = 0; first < model.Trees.Count; first += outputs)
        {
            visit?.Invoke(first / outputs, _raw);
            for (var t = first; t < first + outputs; t++)
            {
                Array.Clear(_gradients[t]);
                Array.Clear(_hessians[t]);
            }

            for (var i = 0; i < Weights.Length; i++)
            {
                if (Weights[i] == 0)
                {
                    continue;
                }

                loss.Derivatives(_raw.AsSpan(i * outputs, outputs), train.TargetArray[i], g, h);
                for (var k = 0; k < outputs; k++)
                {
                    var leaf = _fit.Leaves[first + k][i];
                    _gradients[first + k][leaf] += Weights[i] * g[k];
                    _hessians[first + k][leaf] += Weights[i] * h[k];
                }
            }

            for (var k = 0; k < outputs; k++)
            {
                Update(first + k);
                var (values, leaves) = (Values[first + k], _fit.Leaves[first + k]);
                for (var i = 0; i < leaves.Length; i++)
                {
                    _raw[(i * outputs) + k] += values[leaves[i]];
                }
            }
        }
    }

    private void Update(int tree)
    {
        if (_fit.Model.Trees[tree].IsConstant)
        {
            return;
        }

        for (var leaf = 0; leaf < Values[tree].Length; leaf++)
        {
            // A leaf whose examples are all left out has nothing to say.
            var curvature = _hessians[tree][leaf] + _fit.Ridge[tree][leaf];
            Values[tree][leaf] = _hessians[tree][leaf] > 0 ? -_gradients[tree][leaf] / curvature * _fit.Rates[tree] : 0;
        }
    }
}
