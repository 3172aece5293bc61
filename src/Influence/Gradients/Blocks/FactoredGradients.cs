using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Gradients that are sums of outer products over positions, G = sum over t of d_t a_t', and, with a bias, sum over t of
/// d_t: every linear layer, and convolutions over their patches.
/// </summary>
/// <param name="activation">a, <c>[B, T, I]</c>; made on first use.</param>
/// <param name="outputGradient">d, <c>[B, T, O]</c>.</param>
/// <param name="inputs">I.</param>
/// <param name="weight">The weight takes part.</param>
/// <param name="bias">The bias takes part.</param>
/// <param name="denseWeight">A way to G that is cheaper than the product over a, where the layer knows one: <c>[B, O*I]</c>.</param>
internal sealed class FactoredGradients(
    Func<Tensor> activation,
    Tensor outputGradient,
    long inputs,
    bool weight,
    bool bias,
    Func<Tensor>? denseWeight = null
) : BlockGradients(outputGradient.shape[0])
{
    /// <summary>Up to so many numbers a batch's gradients are written out at once; glibc gives larger pieces back to the system at each
    /// call.</summary>
    private const long NumbersWritten = 1 << 22;

    private Tensor? _activation;

    /// <summary>a, <c>[B, T, I]</c>.</summary>
    public Tensor Activation => _activation ??= activation();

    /// <summary>
    /// a with a column of ones where the bias takes part, <c>[B, T, I + 1]</c>: the bias is then one more input, and ghost
    /// products need no pass of their own for it. A new tensor at each call.
    /// </summary>
    public Tensor ActivationWithBias()
    {
        if (!bias)
        {
            return Activation.clone();
        }

        var extended = ones([Examples, Positions, inputs + 1], outputGradient.dtype, outputGradient.device);
        extended.narrow(2, 0, inputs).copy_(Activation);
        return extended;
    }

    /// <summary>d, <c>[B, T, O]</c>.</summary>
    public Tensor OutputGradient => outputGradient;

    /// <summary>Optional <c>[B, T]</c>: the positions that count; d is zero at the others.</summary>
    public Tensor? Mask { get; init; }

    /// <summary>Equal for layers of one batch that saw the same input; null where that is not known.</summary>
    public string? InputKey { get; init; }

    /// <summary>Whether a and d have changed places, as of a weight that has its inputs in rows: what came back from the loss is then
    /// a.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>
    /// Whether the last input is the bias's column, though <see cref="Bias"/> is false: factors that have no form without it.
    /// Written out, it is a part of its own.
    /// </summary>
    public bool BiasColumn { get; init; }

    /// <summary>Whether the positions are the examples' own (tokens), and not for instance pixels.</summary>
    public bool PositionsLead { get; init; }

    public override long? OwnPositions => PositionsLead ? Positions : null;

    /// <summary>d_t' (G_q a_t) at every position.</summary>
    public override Tensor ByPosition(Tensor[] queries)
    {
        using var scope = NewDisposeScope();
        var (q, rows) = (queries[0].shape[0], Examples * Positions);
        var d = outputGradient.reshape(rows, Outputs).t(); // [O, B*T]
        var products = zeros([q, rows], d.dtype, d.device);
        if (weight)
        {
            var response = queries[0].reshape(q * Outputs, Inputs).mm(Activation.reshape(rows, Inputs).t());
            products.add_(response.reshape(q, Outputs, rows).mul_(d.unsqueeze(0)).sum(1));
        }

        if (bias)
        {
            products.addmm_(queries[^1], d);
        }

        return products.reshape(q, Examples, Positions).MoveToOuterDisposeScope();
    }

    /// <summary>The number of positions of all examples that count.</summary>
    public double CountedPositions()
    {
        if (Mask is null)
        {
            return (double)Examples * Positions;
        }

        using var scope = NewDisposeScope();
        return Mask.to_type(ScalarType.Float64).sum().item<double>();
    }

    /// <summary>a with its column of ones, position by position, <c>[B*T, I (+1)]</c>; zero at positions that do not count.</summary>
    public Tensor CountedActivation()
    {
        var rows = (bias ? ActivationWithBias() : Activation).reshape(Examples * Positions, -1);
        return Mask is null ? rows : rows * Mask.reshape(-1, 1).to_type(rows.dtype);
    }

    public override IEnumerable<(Tensor Activation, double Positions)> CountedInputs() => [(CountedActivation(), CountedPositions())];

    public override long? LayerOutputs => IsTransposed ? inputs : Outputs;

    public override (Tensor OutputGradient, Tensor Activation)? SidesFor(long outputs, long size) =>
        weight && !BiasColumn && (Outputs, inputs) == (outputs, size) ? (outputGradient, Activation) : null;

    public override Tensor SquaredSizes() => SquaredNorms() + Activation.Squared().sum(1, 2) + outputGradient.Squared().sum(1, 2);

    public override TableUse TableUse => weight && !bias && !IsTransposed ? TableUse.Head : TableUse.None;

    public override Func<Tensor?, long, long, Tensor> RotatedTables(Func<Tensor, Tensor> rotate, long rows)
    {
        var rotated = rotate(Activation); // [B, T, D]
        return (sum, start, count) =>
        {
            var tables = outputGradient.narrow(0, start, count).transpose(1, 2).bmm(rotated.narrow(0, start, count)); // [count, V, D]
            return sum is null ? tables : sum.add_(tables);
        };
    }

    public bool Weight => weight;

    public bool Bias => bias;

    public override bool HasBias => bias;

    public override FactorShape? Shape => new FactorShape(Positions, inputs, Outputs, weight);

    public override bool WritingIsCheaper =>
        !weight
        || (
            Positions > 1
            && ContractionCost.DenseNorm(this) + ContractionCost.DenseSum(this)
                < ContractionCost.GhostNorm(this) + ContractionCost.FactoredSum(this)
        );

    public override bool CanBeCut => true;

    public override double NumbersAtWork =>
        Positions == 1 ? inputs + (double)Outputs : Math.Max((double)inputs * Outputs, Positions * (double)inputs);

    public override double NumbersKept(Contraction contraction) =>
        contraction == Contraction.Ghost ? (double)Positions * (inputs + Outputs)
        : weight ? ((double)inputs + 1) * Outputs
        : Outputs;

    public override double NumbersToWrite(double parameters) =>
        weight && Positions > 1 ? Math.Max((double)inputs * Outputs, 2.0 * Positions * Positions) + (Positions * (double)inputs) : 1;

    public override double NumbersToSketch(double parameters) => (2 * parameters) + (Positions * (double)inputs);

    public override double NumbersToProject(PartProjection[] projections) =>
        !HasFactorsFor(projections)
            ? base.NumbersToProject(projections)
            : Math.Max(NumbersToWrite(projections.Sum(p => (double)p.Outputs * p.Inputs)), 1)
                + (Positions * (double)(inputs + (2 * projections[0].KeptSides)));

    public long Positions => outputGradient.shape[1];

    public long Inputs => inputs;

    public long Outputs => outputGradient.shape[2];

    public override void Release()
    {
        base.Release();
        _activation?.Dispose();
        _activation = null;
    }

    public override Tensor SquaredNorms()
    {
        if (!weight)
        {
            return SquaredNorms(Dense());
        }

        if (Positions == 1)
        {
            // Norms first: they write nothing of the factors' size.
            var a = linalg.vector_norm(Activation, 2, [2]).squeeze(1).Squared(); // [B]
            var d = linalg.vector_norm(outputGradient, 2, [2]).squeeze(1).Squared(); // [B]
            return (bias ? a.add_(Kept(1)) : a).mul_(d);
        }

        if (ContractionCost.GhostNorm(this) < ContractionCost.DenseNorm(this))
        {
            return GhostNorms();
        }

        return SquaredNorms(Dense());
    }

    /// <summary>sum over t, s of (a_t . a_s + 1)(d_t . d_s), some examples at a time.</summary>
    private Tensor GhostNorms()
    {
        var norms = empty([Examples], outputGradient.dtype, outputGradient.device);
        var activation = Activation; // kept by the block: not made in a scope of this call's
        var atOnce = Pieces.Of((double)Positions * Positions, Examples);
        for (long first = 0; first < Examples; first += atOnce)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(atOnce, Examples - first);
            var a = Gram(activation.narrow(0, first, count)); // [b, T, T]
            var d = Gram(outputGradient.narrow(0, first, count));
            norms.narrow(0, first, count).copy_((bias ? a.add_(Kept(1)) : a).mul_(d).sum(1, 2));
        }

        return norms;

        static Tensor Gram(Tensor factor) => factor.bmm(factor.transpose(1, 2));
    }

    public override Tensor PreciseSquaredNorms() =>
        weight
            ? new FactoredGradients(
                () => Activation.to_type(ScalarType.Float64),
                outputGradient.to_type(ScalarType.Float64),
                inputs,
                weight,
                bias
            ).SquaredNorms()
            : base.PreciseSquaredNorms();

    /// <summary>One matrix product; no single example's gradient is formed.</summary>
    public override Tensor[] Sum(Tensor? weights = null, Tensor? chosen = null)
    {
        if (!weight)
        {
            return base.Sum(weights, chosen);
        }

        var (a, d) = (Activation, outputGradient); // [B, T, I], [B, T, O]
        if (chosen is not null)
        {
            (a, d, weights) = (a.index_select(0, chosen), d.index_select(0, chosen), weights!.index_select(0, chosen));
        }

        d = (weights is null ? d : d * weights.reshape(-1, 1, 1)).reshape(-1, Outputs); // [B*T, O]
        var sum = d.t().mm(a.reshape(-1, inputs)).reshape(-1); // [O*I]
        return bias ? [sum, d.sum(0L)] : [sum];
    }

    /// <summary>For one position per example, (d^2)' (a^2) is one product of squares.</summary>
    public override Tensor[] SumOfSquares()
    {
        if (!weight || Positions > 1)
        {
            return base.SumOfSquares();
        }

        var d = outputGradient.squeeze(1).Squared(); // [B, O]
        var sum = d.t().mm(Activation.squeeze(1).Squared()).reshape(-1); // [O*I]
        return bias ? [sum, d.sum(0L)] : [sum];
    }

    /// <summary>sum over t of d_t' (G_q a_t).</summary>
    public override void AddProducts(Tensor products, Tensor[] queries, ProductArithmetic? arithmetic = null)
    {
        if (weight && !BiasColumn)
        {
            Products.AddFactored(products, queries, this, arithmetic ?? ProductArithmetic.Own);
        }
        else
        {
            base.AddProducts(products, queries, arithmetic);
        }
    }

    /// <summary>A band of outputs at a time, which stays in the caches: a whole batch written out is fresh memory at each call, and costs
    /// more than the products.</summary>
    public override void AddWrittenProducts(Tensor products, Tensor[] queries, ProductArithmetic arithmetic)
    {
        if (!weight || BiasColumn || IsSubstitute || Examples * inputs * Outputs <= NumbersWritten)
        {
            base.AddWrittenProducts(products, queries, arithmetic);
            return;
        }

        var band = Math.Max(1, Pieces.Numbers / (Examples * inputs));
        var made = Activation; // kept by the block: not made in a scope of this call's
        using var whole = NewDisposeScope();
        var (a, d) = (arithmetic.Rounded(made), arithmetic.Rounded(outputGradient).transpose(1, 2)); // [B, T, I], [B, O, T]
        for (long first = 0; first < Outputs; first += band)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(band, Outputs - first);
            var written = d.narrow(1, first, count).bmm(a).reshape(Examples, -1); // [B, R*I]
            arithmetic.AddProduct(products, queries[0].narrow(1, first * inputs, count * inputs), written.t());
        }

        if (bias)
        {
            arithmetic.AddProduct(products, queries[1], outputGradient.sum(1).t());
        }
    }

    public override void AddProjected(Tensor rows, PartProjection[] projections)
    {
        if (!HasFactorsFor(projections))
        {
            base.AddProjected(rows, projections);
            return;
        }

        projections[0].AddFactors(rows, outputGradient, Activation);
        if (bias)
        {
            projections[1].AddWritten(rows, outputGradient.sum(1));
        }
    }

    public override QueryFactors? FactorsFor(Contraction contraction) =>
        contraction != Contraction.Ghost ? null
        : Positions == 1 ? new QueryFactors(Activation.clone(), outputGradient.clone())
        : new QueryFactors(ActivationWithBias(), outputGradient.clone());

    public override void AddFactorProducts(Tensor products, QueryFactors queries, ContractionPlanner planner, ProductArithmetic arithmetic)
    {
        if (queries.Weights is { } spectrum)
        {
            SpectralProducts.Add(products, queries.First, queries.Second, this, spectrum, planner.NumbersAtOnce, arithmetic);
        }
        else
        {
            var atOnce = planner.GhostExamplesAtOnce(queries.First.shape[0], queries.First.shape[1], Positions);
            Products.AddGhost(products, queries.First, queries.Second, this, atOnce, arithmetic);
        }
    }

    public override bool TryAddGram(Tensor products, ContractionPlanner planner)
    {
        if (weight && Positions == 1)
        {
            products.add_(Pairs(this, this));
            return true;
        }

        if (
            !weight
            || ContractionCost.Ghost(Examples, Positions, Positions, inputs, Outputs)
                > ContractionCost.Dense(Examples, Positions, inputs, Outputs)
        )
        {
            return false;
        }

        var activation = bias ? ActivationWithBias() : Activation; // [B, T, I (+1)]
        Products.AddGhost(
            products,
            activation,
            outputGradient,
            this,
            planner.GhostExamplesAtOnce(Examples, Positions, Positions),
            ProductArithmetic.Own
        );
        return true;
    }

    private bool HasFactorsFor(PartProjection[] projections) =>
        weight && !BiasColumn && (Outputs, inputs) == (projections[0].Outputs, projections[0].Inputs);

    /// <summary>Pairs of factors take V (I + O) an example, against the sum written out, (V/B + 1) I O.</summary>
    public override Tensor? CheapPairs(BlockGradients others) =>
        weight
        && Positions == 1
        && others is FactoredGradients { Weight: true, Positions: 1 } left
        && left.Examples * (double)(inputs + Outputs) < (1 + ((double)left.Examples / Examples)) * inputs * Outputs
            ? Pairs(left, this)
            : null;

    public override BlockGradients Copy(DisposeScope scope)
    {
        var (a, d) = (Activation.clone(), outputGradient.clone());
        scope.Attach(a, d);
        return new FactoredGradients(() => a.alias(), d, inputs, weight, bias)
        {
            IsTransposed = IsTransposed,
            BiasColumn = BiasColumn,
            PositionsLead = PositionsLead,
            IsSubstitute = IsSubstitute,
        };
    }

    public override double NumbersToCopy => Positions * ((double)inputs + Outputs);

    /// <summary>sum over t, s of (a_t . b_s + 1)(d_t . e_s), example by example, where that costs less than writing both out.</summary>
    public override Tensor MatchedProducts(BlockGradients others)
    {
        if (
            !weight
            || others is not FactoredGradients { Weight: true } right
            || (right.Inputs, right.Outputs, right.Bias, right.BiasColumn) != (inputs, Outputs, bias, BiasColumn)
            || ContractionCost.Ghost(1, right.Positions, Positions, inputs, Outputs)
                > ContractionCost.Dense(1, Positions, inputs, Outputs) + ContractionCost.Dense(1, right.Positions, inputs, Outputs)
        )
        {
            return base.MatchedProducts(others);
        }

        using var scope = NewDisposeScope();
        var (a, d) = (Pairs(Activation, right.Activation), Pairs(outputGradient, right.OutputGradient)); // [B, T, S]
        return (bias ? a.add_(Kept(1)) : a).mul_(d).sum(1, 2).MoveToOuterDisposeScope();

        static Tensor Pairs(Tensor left, Tensor right) =>
            left.shape[1] == 1 && right.shape[1] == 1
                ? (left * right).sum(2, keepdim: true) // [B, 1, 1]
                : left.bmm(right.transpose(1, 2)); // [B, T, S]
    }

    /// <summary>The weight's gradients are the same factors without the bias, which a block's own norm counts.</summary>
    public override BlockGradients Part(int part) =>
        weight && !BiasColumn && part == 0
            ? new FactoredGradients(() => Activation.alias(), outputGradient, inputs, weight: true, bias: false)
            : base.Part(part);

    public override Tensor? NotFinite() => NotFinite(IsTransposed ? Activation : outputGradient);

    /// <summary>(a_v . a_i + 1)(d_v . d_i) where every example has one position, <c>[V, B]</c>; the one is the bias.</summary>
    private static Tensor Pairs(FactoredGradients left, FactoredGradients right)
    {
        var activations = left.Activation.squeeze(1).mm(right.Activation.squeeze(1).t()); // [V, B]
        var gradients = left.OutputGradient.squeeze(1).mm(right.OutputGradient.squeeze(1).t()); // [V, B]
        return (left.Bias ? activations.add_(Kept(1)) : activations).mul_(gradients);
    }

    protected override Tensor[] MakeDense()
    {
        var parts = new List<Tensor>();
        if (BiasColumn)
        {
            var whole = outputGradient.transpose(1, 2).bmm(Activation); // [B, O, I + 1]
            return [whole.narrow(2, 0, Inputs - 1).reshape(Examples, -1), whole.select(2, Inputs - 1).contiguous()];
        }

        if (weight)
        {
            parts.Add(
                denseWeight is not null ? denseWeight() : outputGradient.transpose(1, 2).bmm(Activation).reshape(Examples, Outputs * Inputs)
            );
        }

        if (bias)
        {
            parts.Add(outputGradient.sum(1)); // [B, O]
        }

        return [.. parts];
    }
}
