using Influence.Formats;
using Influence.Numerics;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Chooses, within a candidate batch that was run already, the examples to train on: those whose gradients lower the validation
/// measurement most, together and not each alone. The chosen part needs no second forward or backward pass.
/// </summary>
/// <remarks>
/// <para>Greedily, k times: the example with the largest a g_val . g_i - r a^2 sum over chosen j of g_i . g_j, with a = eta/k the rate at
/// which one of k chosen examples moves the weights under the mean of their losses. The second term is what the chosen ones have
/// already done along g_i. Costs B^2 products of gradients, from the layers' inputs and output gradients, and k B steps on the
/// CPU.</para>
/// <para>Reference: Wang, Wu, Song, Mittal and Jia, GREATS: Online Selection of High-Quality Data for LLM Training in Every Iteration
/// (NeurIPS 2024). As there, the identity stands for the Hessian of the validation loss, and a
/// candidate's product with itself is left out. Here <see cref="Redundancy"/> scales that
/// term, a carries the 1/k of the mean, and a gain that is negative is chosen too, so that exactly k are. The step is taken as that of SGD,
/// for Adam too.</para>
/// </remarks>
/// <example>
/// <code>
/// using var step = loop.Step(candidates, validation);
/// step.Accumulate(new OnlineSelection { Fraction = 0.5 }.Choose(step, optimizer));
/// optimizer.step();
/// </code>
/// </example>
public sealed record OnlineSelection
{
    /// <summary>The share of each candidate batch that is trained on; at least one example is.</summary>
    /// <value>0.5.</value>
    public double Fraction
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.5;

    /// <summary>r, how much overlap with examples that are chosen already counts; the assumed curvature of the validation loss.</summary>
    /// <value>1, as in the paper; 0 takes each example for itself.</value>
    public double Redundancy
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>
    /// Chooses with the learning rates of an optimizer; where parameter groups differ, each parameter's part of the products has its own.
    /// </summary>
    /// <param name="step">A step with a validation batch.</param>
    /// <param name="optimizer">The optimizer.</param>
    /// <returns>The choice, for <see cref="TrainingStep.Accumulate(Result)"/>.</returns>
    /// <exception cref="InfluenceException">The step has no validation batch, or products are not finite.</exception>
    /// <exception cref="ObjectDisposedException">The step is disposed.</exception>
    public Result Choose(TrainingStep step, optim.Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(step);
        ArgumentNullException.ThrowIfNull(optimizer);
        var rates = RatesOf(step, optimizer);
        if (rates.AreSame)
        {
            return Choose(step, rates.Largest);
        }

        if (rates.Problems().FirstOrDefault() is { } problem)
        {
            throw new InfluenceException($"The optimizer has the {problem}; finite numbers of at least 0 are expected.");
        }

        using var scope = NewDisposeScope();
        double[][] eta = [.. step.Loop.Session.Parts.Select(parts => parts.Select(p => rates.Of(p.Parameter.Name).LearningRate).ToArray())];
        var direction = step.ValidationGradient();
        for (var k = 0; k < direction.Length; k++)
        {
            direction[k] = direction[k]?.Zip(eta[k], (part, rate) => part.mul_(Kept(rate))).ToArray();
        }

        // Products have the rate, overlaps its square: what is left for the greedy choice is a rate of 1.
        return Choose(
            step,
            1,
            () => step.ProductsWith(direction),
            () => step.ScaledGram([.. eta.Select(parts => parts.Select(r => r * r).ToArray())])
        );
    }

    private static ParameterRates RatesOf(TrainingStep step, optim.Optimizer optimizer)
    {
        using var span = Spans.Of("rates of the optimizer");
        return ParameterRates.Of(step.Loop.Task.Model, [optimizer]);
    }

    /// <summary>Chooses.</summary>
    /// <param name="step">A step with a validation batch.</param>
    /// <param name="learningRate">eta.</param>
    /// <returns>The choice, for <see cref="TrainingStep.Accumulate(Result)"/>.</returns>
    /// <exception cref="InfluenceException">The step has no validation batch, a rate that is negative or not finite, or products are not
    /// finite.</exception>
    /// <exception cref="ObjectDisposedException">The step is disposed.</exception>
    public Result Choose(TrainingStep step, double learningRate)
    {
        ArgumentNullException.ThrowIfNull(step);
        if (!(learningRate >= 0) || !double.IsFinite(learningRate))
        {
            throw new InfluenceException($"The learning rate is {learningRate}; a finite number of at least 0 is expected.");
        }

        return Choose(step, learningRate, step.ValidationProducts, step.Gram);
    }

    private Result Choose(TrainingStep step, double learningRate, Func<Tensor> validationProducts, Func<Tensor> overlaps)
    {
        using var scope = NewDisposeScope();
        var count = step.Ids.Count;
        var k = Math.Clamp((int)Math.Round(Fraction * count), 1, count);
        var products = Values(validationProducts()); // [B]
        var gram = Redundancy > 0 && k < count ? Values(overlaps()) : new double[(long)count * count]; // [B, B]
        long[] bad = [.. step.Ids.Where((_, i) => !double.IsFinite(products[i]) || !double.IsFinite(gram[((long)i * count) + i]))];
        if (bad.Length > 0)
        {
            throw new InfluenceException(
                $"The gradients of the examples with ids {InfluenceException.List(bad)} are NaN or too large, though their losses are "
                    + "finite. Look at their inputs."
            )
            {
                ExampleIds = bad,
            };
        }

        using var greedy = Spans.Of("greedy choice");
        return new Result(step.Ids, Greedy(products, gram, k, learningRate / k, Redundancy));

        static double[] Values(Tensor tensor) => tensor.cpu().to_type(ScalarType.Float64).reshape(-1).data<double>().ToArray();
    }

    /// <summary>The positions and gains in the order of the choice; ties go to the first.</summary>
    internal static List<(int Position, double Gain)> Greedy(double[] products, double[] gram, int k, double rate, double redundancy)
    {
        var count = products.Length;
        var overlap = new double[count];
        var chosen = new List<(int, double)>(k);
        var left = Enumerable.Range(0, count).ToList();
        while (chosen.Count < k)
        {
            var best = left.MaxBy(Gain);
            chosen.Add((best, Gain(best)));
            left.Remove(best);
            foreach (var i in left)
            {
                overlap[i] += gram[((long)i * count) + best];
            }
        }

        return chosen;

        double Gain(int i) => (rate * products[i]) - (redundancy * rate * rate * overlap[i]);
    }

    /// <summary>Which examples of a candidate batch are trained on.</summary>
    public sealed class Result
    {
        internal Result(IReadOnlyList<long> ids, IReadOnlyList<(int Position, double Gain)> chosen)
        {
            Positions = [.. chosen.Select(c => c.Position)];
            Ids = [.. Positions.Select(p => ids[p])];
            Gains = [.. chosen.Select(c => c.Gain)];
            var weights = new double[ids.Count];
            foreach (var position in Positions)
            {
                weights[position] = 1.0 / Positions.Count;
            }

            Weights = weights;
        }

        /// <summary>Positions in the batch, in the order in which they were chosen.</summary>
        public IReadOnlyList<int> Positions { get; }

        /// <summary>The chosen examples' ids, in that order.</summary>
        public IReadOnlyList<long> Ids { get; }

        /// <summary>What each added to the predicted fall of the validation measurement, in that order.</summary>
        public IReadOnlyList<double> Gains { get; }

        /// <summary>For each example of the batch 1/k where it is chosen, else 0.</summary>
        public IReadOnlyList<double> Weights { get; }
    }
}
