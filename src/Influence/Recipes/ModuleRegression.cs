using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// A module of your own that learns influence: a language model with one output over token ids, as MATES fits BERT. It is trained on the
/// squared error, and the epoch that predicts a part of the data best that was kept back (<see cref="Validation"/>) is kept.
/// </summary>
/// <remarks>
/// <para>
/// The module is the caller's and is trained in place: each fit begins where the last one ended, so that measuring anew as a run goes on
/// (<see cref="Mates.Run"/>) costs few epochs. Predictions are the module's; a later fit changes those of earlier ones too. Its parameters
/// that need no gradient stay as they are. In training it has its training mode, and dropout draws from torch's own generator; it has its
/// own mode again afterwards.
/// </para>
/// <para>
/// Give it inputs by <see cref="InfluenceFeatures.AsGiven"/>; they come in float64, which holds token ids exactly:
/// <c>x => encoder.call(x.to_type(ScalarType.Int64))</c> within the module's forward. Cost: <see cref="Epochs"/> passes over the probes.
/// Reference: Yu, Das, Xiong, "MATES", NeurIPS 2024, section 3.2.
/// </para>
/// </remarks>
public sealed record ModuleRegression : IInfluenceRegression
{
    private readonly nn.Module<Tensor, Tensor> _module;

    /// <summary>Takes the module.</summary>
    /// <param name="module">From <c>[n, d]</c>, float64 on its own device, to <c>[n]</c> or <c>[n, 1]</c>.</param>
    /// <exception cref="InfluenceException">It has no parameter that needs a gradient.</exception>
    public ModuleRegression(nn.Module<Tensor, Tensor> module)
    {
        ArgumentNullException.ThrowIfNull(module);
        if (!module.parameters().Any(p => p.requires_grad))
        {
            throw new InfluenceException(
                "The module has no trainable parameter, so that it can learn nothing. Set requires_grad = true on those that it is to "
                    + "learn."
            );
        }

        _module = module;
    }

    /// <summary>Makes the optimizer of a fit.</summary>
    /// <value>AdamW with a rate of 0.0001 and its other defaults.</value>
    public Func<IReadOnlyList<Parameter>, optim.Optimizer> Optimizer
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = parameters => optim.AdamW(parameters, 1e-4);

    /// <summary>Passes over the data.</summary>
    /// <value>3.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Epochs
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>Rows in a step.</summary>
    /// <value>16.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int BatchSize
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 16;

    /// <summary>The share of the data that epochs are compared on.</summary>
    /// <value>0.2.</value>
    /// <exception cref="InfluenceException">Not between 0 and 1.</exception>
    public double Validation
    {
        get;
        init => field = HeldOutPart.Share(value, nameof(Validation));
    } = 0.2;

    /// <inheritdoc/>
    public string Name => "module of the user's own";

    /// <inheritdoc/>
    public IInfluencePredictor Fit(Tensor features, Tensor targets, long seed, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(targets);
        using var scope = NewDisposeScope();
        using var mode = new EvaluationMode(_module);
        Parameter[] weights = [.. _module.parameters().Where(p => p.requires_grad)];
        var (fit, validation) = HeldOutPart.Split((int)targets.shape[0], Validation, seed, "module validation");
        using var optimizer = Optimizer(weights) ?? throw new InfluenceException("Optimizer returned null; it returns an optimizer.");
        Tensor[] state = [.. weights, .. _module.named_buffers().Select(b => b.buffer)];
        var training = new BestEpoch(fit, BatchSize, Step, Error);
        var bestEpoch = training.Train(state, Epochs, epoch => new KeyedRandom(seed, "module order", epoch), cancellationToken);
        return new Predictor(_module, $"the weights after {bestEpoch} of {Epochs} epochs");

        void Step(long[] rows)
        {
            using var step = NewDisposeScope();
            using var grad = enable_grad();
            _module.train();
            optimizer.zero_grad();
            GuardedBackward.Accumulate(SquaredErrors(rows).mean());
            optimizer.step();
        }

        Tensor SquaredErrors(long[] rows)
        {
            var index = tensor(rows);
            var output = Output(_module, features.index_select(0, index));
            return (output - targets.index_select(0, index).to(output.dtype, output.device)).Squared();
        }

        double Error()
        {
            using var noGrad = no_grad();
            _module.eval();
            var total = 0.0;
            foreach (var rows in validation.Chunk(BatchSize))
            {
                using var part = NewDisposeScope();
                total += SquaredErrors(rows).sum().to_type(ScalarType.Float64).item<double>();
            }

            return total / validation.Length;
        }
    }

    /// <summary>[n], on the module's device.</summary>
    private static Tensor Output(nn.Module<Tensor, Tensor> module, Tensor features)
    {
        var output = module.call(features.to(module.parameters().First().device));
        return output is not null && output.numel() == features.shape[0]
            ? output.reshape(-1)
            : throw new InfluenceException(
                $"The module gives one number an example, [{features.shape[0]}] or [{features.shape[0]}, 1]; found "
                    + $"{(output is null ? "null" : $"[{string.Join(", ", output.shape)}]")}."
            );
    }

    private sealed class Predictor(nn.Module<Tensor, Tensor> module, string description) : IInfluencePredictor
    {
        public string Description => description;

        public Tensor Predict(Tensor features)
        {
            using var mode = new EvaluationMode(module);
            return Output(module, features);
        }

        /// <summary>The module stays the caller's.</summary>
        public void Dispose() { }
    }
}
