using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Recipes;

/// <summary>
/// A network with one hidden layer, <c>w2' relu(W1 x + b1) + b2</c>, trained on the squared error by Adam. The epoch that predicts a part
/// of the data best that was kept back (<see cref="Validation"/>) is kept.
/// </summary>
/// <remarks>
/// All random numbers follow from the seed; torch's own generator is not touched. Cost: <see cref="Epochs"/> passes over n rows of
/// n d h operations each.
/// </remarks>
public sealed record MlpRegression : IInfluenceRegression
{
    /// <summary>The width h of the hidden layer.</summary>
    /// <value>64.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Hidden
    {
        get;
        init => field = AtLeastOne(value, nameof(Hidden));
    } = 64;

    /// <summary>Passes over the data.</summary>
    /// <value>100.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Epochs
    {
        get;
        init => field = AtLeastOne(value, nameof(Epochs));
    } = 100;

    /// <summary>Rows in a step.</summary>
    /// <value>32.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int BatchSize
    {
        get;
        init => field = AtLeastOne(value, nameof(BatchSize));
    } = 32;

    /// <summary>Adam's.</summary>
    /// <value>0.003.</value>
    /// <exception cref="InfluenceException">Not a positive number.</exception>
    public double LearningRate
    {
        get;
        init => field = Check.Positive(value);
    } = 3e-3;

    /// <summary>Added to the gradient, times the weights.</summary>
    /// <value>0.001.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double WeightDecay
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1e-3;

    /// <summary>The share of the data that epochs are compared on.</summary>
    /// <value>0.2.</value>
    /// <exception cref="InfluenceException">Not between 0 and 1.</exception>
    public double Validation
    {
        get;
        init => field = HeldOutPart.Share(value, nameof(Validation));
    } = 0.2;

    /// <inheritdoc/>
    public string Name => "network of one hidden layer";

    /// <inheritdoc/>
    public IInfluencePredictor Fit(Tensor features, Tensor targets, long seed, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(targets);
        using var scope = NewDisposeScope();
        var (fit, validation) = HeldOutPart.Split((int)targets.shape[0], Validation, seed, "network validation");
        var (heldX, heldY) = (features.index_select(0, tensor(validation)), targets.index_select(0, tensor(validation)));
        var weights = Initial(features.shape[1], seed);
        using var optimizer = optim.Adam(weights, LearningRate, weight_decay: WeightDecay);
        var training = new BestEpoch(fit, BatchSize, rows => Step(optimizer, weights, features, targets, rows), Error);
        var bestEpoch = training.Train(weights, Epochs, epoch => new KeyedRandom(seed, "network order", epoch), cancellationToken);
        return new Network(
            [.. weights.Select(w => w.detach().clone().DetachFromDisposeScope())],
            $"{Hidden} hidden units, the weights after {bestEpoch} of {Epochs} epochs"
        );

        double Error()
        {
            using var step = NewDisposeScope();
            using var noGrad = no_grad();
            return (Output(weights, heldX) - heldY).Squared().mean().item<double>();
        }
    }

    private static void Step(optim.Optimizer optimizer, IReadOnlyList<Tensor> weights, Tensor features, Tensor targets, long[] rows)
    {
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        var index = tensor(rows);
        optimizer.zero_grad();
        GuardedBackward.Accumulate((Output(weights, features.index_select(0, index)) - targets.index_select(0, index)).Squared().mean());
        optimizer.step();
    }

    /// <summary>He's initial weights, zero for biases and for the last layer: the first prediction is the mean.</summary>
    private Parameter[] Initial(long width, long seed) =>
        [
            nn.Parameter(SeededNumbers.Normal(seed, Hidden, width, ScalarType.Float64, CPU) * Kept(Math.Sqrt(2.0 / width))), // [h, d]
            nn.Parameter(zeros([Hidden], ScalarType.Float64)),
            nn.Parameter(zeros([1, Hidden], ScalarType.Float64)),
            nn.Parameter(zeros([1], ScalarType.Float64)),
        ];

    private static Tensor Output(IReadOnlyList<Tensor> weights, Tensor x) =>
        F.linear(F.relu(F.linear(x, weights[0], weights[1])), weights[2], weights[3]).squeeze(1); // [n]

    private static int AtLeastOne(int value, string name) =>
        value >= 1 ? value : throw new InfluenceException($"{name} is at least 1, not {value}.");

    private sealed class Network(Tensor[] weights, string description) : IInfluencePredictor
    {
        public string Description => description;

        public Tensor Predict(Tensor features) => Output(weights, features);

        public void Dispose()
        {
            foreach (var weight in weights)
            {
                weight.Dispose();
            }
        }
    }
}
