namespace Influence.Trees;

/// <summary>
/// A loss as LightGBM boosts it: from raw scores F, one for each tree of an iteration, and a target y to value, gradient g and second
/// derivatives h (the diagonal), and how g + theta h changes with F.
/// </summary>
internal abstract class TreeLoss
{
    public abstract BoostedTrees.LossKind Kind { get; }

    /// <summary>Raw scores of an example: 1, or the number of classes.</summary>
    public virtual int Outputs => 1;

    /// <summary>Numbers that <see cref="Prepare"/> keeps of one raw score.</summary>
    public virtual int Kept => 1;

    public abstract double Value(ReadOnlySpan<double> raw, double target);

    public abstract void Derivatives(ReadOnlySpan<double> raw, double target, Span<double> gradient, Span<double> hessian);

    /// <summary>Keeps what <see cref="Change"/> needs, for each raw score: of one example at one iteration.</summary>
    /// <param name="raw">Raw scores.</param>
    /// <param name="theta">The values of the leaves that the example falls in, without the learning rate.</param>
    /// <param name="kept">Outputs times <see cref="Kept"/> numbers.</param>
    public abstract void Prepare(ReadOnlySpan<double> raw, ReadOnlySpan<double> theta, Span<double> kept);

    /// <summary>The derivative of g_k + theta_k h_k along a change of the raw scores.</summary>
    public abstract void Change(ReadOnlySpan<double> kept, ReadOnlySpan<double> direction, Span<double> change);

    /// <summary>The score from which boosting starts, when it starts from the average; weights of 0 leave out.</summary>
    public abstract double[] Initial(double[] targets, double[]? weights);

    /// <summary>The derivative of <see cref="Initial"/> by one example's weight, at weights of 1.</summary>
    public abstract double[] InitialChange(double[] targets, int example);

    /// <summary>From raw scores to predictions: values, the probability of class 1, or probabilities.</summary>
    public abstract void Predict(ReadOnlySpan<double> raw, Span<double> prediction);

    /// <summary>The product of the matrix of second derivatives with a direction, for the surrogate's fit.</summary>
    public abstract void Curve(ReadOnlySpan<double> raw, ReadOnlySpan<double> direction, Span<double> product);

    /// <summary>Whether a target is one that the loss has.</summary>
    public abstract bool Fits(double target);

    public abstract string Targets { get; }

    protected static double Sigmoid(double x) =>
        x >= 0 ? 1 / (1 + Math.Exp(-x))
        : Math.Exp(x) is var e ? e / (1 + e)
        : 0;

    /// <summary>log(1 + exp(x)) that neither overflows nor loses digits.</summary>
    protected static double Softplus(double x) => Math.Max(x, 0) + double.LogP1(Math.Exp(-Math.Abs(x)));

    protected static double WeightedMean(double[] values, double[]? weights)
    {
        var (sum, total) = (0.0, 0.0);
        for (var i = 0; i < values.Length; i++)
        {
            var weight = weights?[i] ?? 1;
            (sum, total) = (sum + (weight * values[i]), total + weight);
        }

        return sum / total;
    }
}

/// <summary>Half the squared difference.</summary>
internal sealed class SquaredErrorLoss : TreeLoss
{
    public override BoostedTrees.LossKind Kind => BoostedTrees.LossKind.SquaredError;

    public override string Targets => "finite numbers";

    public override double Value(ReadOnlySpan<double> raw, double target) => 0.5 * (raw[0] - target) * (raw[0] - target);

    public override void Derivatives(ReadOnlySpan<double> raw, double target, Span<double> gradient, Span<double> hessian) =>
        (gradient[0], hessian[0]) = (raw[0] - target, 1);

    public override void Prepare(ReadOnlySpan<double> raw, ReadOnlySpan<double> theta, Span<double> kept) => kept[0] = 1;

    public override void Change(ReadOnlySpan<double> kept, ReadOnlySpan<double> direction, Span<double> change) => change[0] = direction[0];

    public override double[] Initial(double[] targets, double[]? weights) => [WeightedMean(targets, weights)];

    public override double[] InitialChange(double[] targets, int example) => [(targets[example] - targets.Average()) / targets.Length];

    public override void Predict(ReadOnlySpan<double> raw, Span<double> prediction) => prediction[0] = raw[0];

    public override void Curve(ReadOnlySpan<double> raw, ReadOnlySpan<double> direction, Span<double> product) => product[0] = direction[0];

    public override bool Fits(double target) => true;
}

/// <summary>Cross-entropy of 0 and 1 with p = sigmoid(s F): g = s (p - y), h = s^2 p (1 - p).</summary>
internal sealed class LogisticLoss(double scale) : TreeLoss
{
    public override BoostedTrees.LossKind Kind => BoostedTrees.LossKind.Binary;

    public override string Targets => "0 or 1";

    public override double Value(ReadOnlySpan<double> raw, double target) => Softplus(target > 0 ? -scale * raw[0] : scale * raw[0]);

    public override void Derivatives(ReadOnlySpan<double> raw, double target, Span<double> gradient, Span<double> hessian)
    {
        var p = Sigmoid(scale * raw[0]);
        (gradient[0], hessian[0]) = (scale * (p - target), scale * scale * p * (1 - p));
    }

    public override void Prepare(ReadOnlySpan<double> raw, ReadOnlySpan<double> theta, Span<double> kept)
    {
        var p = Sigmoid(scale * raw[0]);
        kept[0] = scale * scale * p * (1 - p) * (1 + (theta[0] * scale * (1 - (2 * p))));
    }

    public override void Change(ReadOnlySpan<double> kept, ReadOnlySpan<double> direction, Span<double> change) =>
        change[0] = kept[0] * direction[0];

    public override double[] Initial(double[] targets, double[]? weights)
    {
        var p = Math.Clamp(WeightedMean(targets, weights), 1e-15, 1 - 1e-15);
        return [Math.Log(p / (1 - p)) / scale];
    }

    public override double[] InitialChange(double[] targets, int example)
    {
        var p = targets.Average();
        return [(targets[example] - p) / (targets.Length * p * (1 - p) * scale)];
    }

    public override void Predict(ReadOnlySpan<double> raw, Span<double> prediction) => prediction[0] = Sigmoid(scale * raw[0]);

    public override void Curve(ReadOnlySpan<double> raw, ReadOnlySpan<double> direction, Span<double> product)
    {
        var p = Sigmoid(scale * raw[0]);
        product[0] = scale * scale * p * (1 - p) * direction[0];
    }

    public override bool Fits(double target) => target is 0 or 1;
}

/// <summary>Cross-entropy of K classes: g = p - y, h = K / (K - 1) p (1 - p), LightGBM's factor for a class too many.</summary>
internal sealed class SoftmaxLoss(int classes) : TreeLoss
{
    private readonly double _factor = classes / (classes - 1.0);

    public override BoostedTrees.LossKind Kind => BoostedTrees.LossKind.Multiclass;

    public override int Outputs => classes;

    public override int Kept => 2;

    public override string Targets => $"whole numbers from 0 to {classes - 1}";

    public override double Value(ReadOnlySpan<double> raw, double target)
    {
        var most = double.NegativeInfinity;
        foreach (var value in raw)
        {
            most = Math.Max(most, value);
        }

        var sum = 0.0;
        foreach (var value in raw)
        {
            sum += Math.Exp(value - most);
        }

        return most + Math.Log(sum) - raw[(int)target];
    }

    public override void Derivatives(ReadOnlySpan<double> raw, double target, Span<double> gradient, Span<double> hessian)
    {
        Predict(raw, gradient);
        for (var k = 0; k < classes; k++)
        {
            hessian[k] = _factor * gradient[k] * (1 - gradient[k]);
        }

        gradient[(int)target] -= 1;
    }

    public override void Prepare(ReadOnlySpan<double> raw, ReadOnlySpan<double> theta, Span<double> kept)
    {
        Predict(raw, kept[..classes]);
        for (var k = 0; k < classes; k++)
        {
            kept[classes + k] = 1 + (theta[k] * _factor * (1 - (2 * kept[k])));
        }
    }

    public override void Change(ReadOnlySpan<double> kept, ReadOnlySpan<double> direction, Span<double> change)
    {
        var mean = 0.0;
        for (var k = 0; k < classes; k++)
        {
            mean += kept[k] * direction[k];
        }

        for (var k = 0; k < classes; k++)
        {
            change[k] = kept[classes + k] * kept[k] * (direction[k] - mean);
        }
    }

    public override double[] Initial(double[] targets, double[]? weights) =>
        [
            .. Enumerable
                .Range(0, classes)
                .Select(k => Math.Log(Math.Max(1e-15, WeightedMean(Array.ConvertAll(targets, t => t == k ? 1.0 : 0), weights)))),
        ];

    public override double[] InitialChange(double[] targets, int example) =>
        [
            .. Enumerable
                .Range(0, classes)
                .Select(k =>
                {
                    var share = targets.Average(t => t == k ? 1.0 : 0);
                    return share == 0 ? 0 : ((targets[example] == k ? 1 : 0) - share) / (targets.Length * share);
                }),
        ];

    public override void Predict(ReadOnlySpan<double> raw, Span<double> prediction)
    {
        var most = double.NegativeInfinity;
        foreach (var value in raw)
        {
            most = Math.Max(most, value);
        }

        var sum = 0.0;
        for (var k = 0; k < classes; k++)
        {
            sum += prediction[k] = Math.Exp(raw[k] - most);
        }

        for (var k = 0; k < classes; k++)
        {
            prediction[k] /= sum;
        }
    }

    public override void Curve(ReadOnlySpan<double> raw, ReadOnlySpan<double> direction, Span<double> product)
    {
        Predict(raw, product);
        var mean = 0.0;
        for (var k = 0; k < classes; k++)
        {
            mean += product[k] * direction[k];
        }

        for (var k = 0; k < classes; k++)
        {
            product[k] *= direction[k] - mean;
        }
    }

    public override bool Fits(double target) => target >= 0 && target < classes && target == Math.Floor(target);
}
