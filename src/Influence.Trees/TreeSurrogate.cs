namespace Influence.Trees;

/// <summary>The linear model of TREX. Its objective is strongly convex and smooth: Newton steps, solved by conjugate gradients, with
/// halving.</summary>
internal sealed class TreeSurrogate(TreeKernelFeatures features, TreeLoss loss, double[] targets, double[] offset, double l2)
{
    private const int MostSteps = 100;

    private readonly int _outputs = offset.Length;
    private double[] _weights = [];

    /// <summary>Each training example's coefficients, <c>[N * K]</c>.</summary>
    public double[] Alphas { get; private set; } = [];

    public int Fit(double tolerance, CancellationToken token)
    {
        var point = new double[features.Columns * _outputs];
        var (value, gradient, raw) = Objective(point);
        var goal = tolerance * Math.Sqrt(Dot(gradient, gradient));
        var steps = 0;
        while (Math.Sqrt(Dot(gradient, gradient)) > goal)
        {
            token.ThrowIfCancellationRequested();
            var step = Solve(raw, gradient, token);
            var slope = Dot(gradient, step);
            var length = 1.0;
            double[] next;
            (double Value, double[] Gradient, double[] Raw) there;
            do
            {
                next = [.. point.Zip(step, (p, d) => p + (length * d))];
                there = Objective(next);
                length /= 2;
            } while (
                length > 1e-10
                && !(there.Value <= value + (1e-4 * 2 * length * slope))
                && Dot(there.Gradient, there.Gradient) > 0.25 * Dot(gradient, gradient)
            );

            // Where rounding alone is left, the gradient no longer falls.
            if (++steps >= MostSteps || !(Dot(there.Gradient, there.Gradient) < Dot(gradient, gradient) || there.Value < value))
            {
                if (Math.Sqrt(Dot(gradient, gradient)) > 1e4 * goal)
                {
                    throw new InfluenceException(
                        $"TREX's surrogate did not converge in {steps} Newton steps: write a larger L2 or Tolerance."
                    );
                }

                break;
            }

            (point, value, gradient, raw) = (next, there.Value, there.Gradient, there.Raw);
        }

        // From here on W is the sum over the examples, so that their terms add up to the output.
        Alphas = new double[targets.Length * _outputs];
        double[] g = new double[_outputs],
            h = new double[_outputs];
        for (var i = 0; i < targets.Length; i++)
        {
            loss.Derivatives(raw.AsSpan(i * _outputs, _outputs), targets[i], g, h);
            for (var k = 0; k < _outputs; k++)
            {
                Alphas[(i * _outputs) + k] = -g[k] / (2 * l2 * targets.Length);
            }
        }

        _weights = Gather(Alphas);
        return steps;
    }

    /// <summary>Raw outputs of the fitted surrogate, <c>[count * K]</c>.</summary>
    public double[] Outputs(int[][] leaves)
    {
        var raw = Spread(_weights, leaves);
        for (var i = 0; i < raw.Length; i++)
        {
            raw[i] += offset[i % _outputs];
        }

        return raw;
    }

    private (double Value, double[] Gradient, double[] Raw) Objective(double[] weights)
    {
        var raw = Spread(weights, features.Train);
        var slopes = new double[raw.Length];
        Span<double> h = stackalloc double[_outputs];
        var value = 0.0;
        for (var i = 0; i < targets.Length; i++)
        {
            var own = raw.AsSpan(i * _outputs, _outputs);
            for (var k = 0; k < _outputs; k++)
            {
                own[k] += offset[k];
            }

            value += loss.Value(own, targets[i]) / targets.Length;
            loss.Derivatives(own, targets[i], slopes.AsSpan(i * _outputs, _outputs), h);
        }

        var gradient = Gather(Array.ConvertAll(slopes, s => s / targets.Length));
        for (var c = 0; c < gradient.Length; c++)
        {
            gradient[c] += 2 * l2 * weights[c];
        }

        return (value + (l2 * Dot(weights, weights)), gradient, raw);
    }

    private double[] Solve(double[] raw, double[] gradient, CancellationToken token)
    {
        var step = new double[gradient.Length];
        double[] residual = Array.ConvertAll(gradient, g => -g),
            direction = [.. residual];
        var old = Dot(residual, residual);
        var goal = 1e-24 * old;
        for (var iteration = 0; iteration < 2 * gradient.Length && old > goal; iteration++)
        {
            token.ThrowIfCancellationRequested();
            var product = Curve(raw, direction);
            var along = old / Dot(direction, product);
            for (var c = 0; c < step.Length; c++)
            {
                step[c] += along * direction[c];
                residual[c] -= along * product[c];
            }

            var now = Dot(residual, residual);
            for (var c = 0; c < step.Length; c++)
            {
                direction[c] = residual[c] + (now / old * direction[c]);
            }

            old = now;
        }

        return step;
    }

    private double[] Curve(double[] raw, double[] direction)
    {
        var along = Spread(direction, features.Train);
        var curved = new double[along.Length];
        for (var i = 0; i < targets.Length; i++)
        {
            loss.Curve(raw.AsSpan(i * _outputs, _outputs), along.AsSpan(i * _outputs, _outputs), curved.AsSpan(i * _outputs, _outputs));
        }

        var product = Gather(Array.ConvertAll(curved, c => c / targets.Length));
        for (var c = 0; c < product.Length; c++)
        {
            product[c] += 2 * l2 * direction[c];
        }

        return product;
    }

    /// <summary>From weights of columns to outputs of examples.</summary>
    private double[] Spread(double[] weights, int[][] leaves)
    {
        var outputs = new double[leaves[0].Length * _outputs];
        for (var t = 0; t < features.Trees; t++)
        {
            for (var i = 0; i < leaves[t].Length; i++)
            {
                var weight = features.Weight(t, leaves[t][i]);
                var column = (features.Starts[t] + leaves[t][i]) * _outputs;
                for (var k = 0; k < _outputs; k++)
                {
                    outputs[(i * _outputs) + k] += weight * weights[column + k];
                }
            }
        }

        return outputs;
    }

    /// <summary>The transpose of <see cref="Spread"/>, over the training examples.</summary>
    private double[] Gather(double[] values)
    {
        var columns = new double[features.Columns * _outputs];
        for (var t = 0; t < features.Trees; t++)
        {
            var leaves = features.Train[t];
            for (var i = 0; i < leaves.Length; i++)
            {
                var weight = features.Weight(t, leaves[i]);
                var column = (features.Starts[t] + leaves[i]) * _outputs;
                for (var k = 0; k < _outputs; k++)
                {
                    columns[column + k] += weight * values[(i * _outputs) + k];
                }
            }
        }

        return columns;
    }

    private static double Dot(double[] a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
