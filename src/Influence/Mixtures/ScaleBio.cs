using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Mixtures;

/// <summary>
/// ScaleBiO: learns the weights of data sources while the model trains, from a validation loss and first derivatives alone.
/// Two models of the same architecture step side by side: one on the sources plus the validation loss, its proxy on the
/// sources only. A source that fits the former better than the latter helps validation.
/// </summary>
/// <typeparam name="TModel">The model's type.</typeparam>
/// <remarks>
/// <para>min over weights lambda = softmax(p) and w, max over u: L1(w) + alpha [L2(w, lambda) - L2(u, lambda)], L1 the validation
/// loss and L2 = sum_i lambda_i l_i. One step: u by grad L2(u); w by grad L1(w) + alpha grad L2(w); and p_i by
/// alpha lambda_i (c_i - sum_j lambda_j c_j), c_i = l_i(w) - l_i(u) at the weights before the step.</para>
/// <para>With alpha to infinity alpha c_i becomes -grad L1' H^-1 grad l_i, H the Hessian of L2: minus the source's influence on
/// the validation loss. Reference: Pan et al., ScaleBiO: Scalable Bilevel Optimization for LLM Data Reweighting (2024).</para>
/// <para>Memory and compute are those of two models. The models and optimizers stay the caller's, who disposes them; weight
/// decay, momentum and the like are the optimizers'. A run that was interrupted goes on by <see cref="ScaleBio.Resume"/>, once both models
/// and optimizers have their states again.</para>
/// </remarks>
public sealed class ScaleBio<TModel>
    where TModel : nn.Module
{
    private readonly TModel _model;
    private readonly TModel _proxy;
    private readonly optim.Optimizer _modelOptimizer;
    private readonly optim.Optimizer _proxyOptimizer;
    private readonly IReadOnlyList<string> _sources;
    private readonly double[] _logits;

    /// <summary>Pairs the models; the proxy's weights become the model's.</summary>
    /// <param name="model">The model that is wanted, w. Its optimizer sees alpha times the sources' gradient: see
    /// <see cref="Alpha"/>.</param>
    /// <param name="modelOptimizer">Over its parameters.</param>
    /// <param name="proxy">Another model of the same architecture, u.</param>
    /// <param name="proxyOptimizer">Over the proxy's parameters.</param>
    /// <param name="initial">The sources' first weights, all more than 0.</param>
    /// <exception cref="InfluenceException">The same model twice, models of unlike parameters, or a source of weight 0.</exception>
    public ScaleBio(TModel model, optim.Optimizer modelOptimizer, TModel proxy, optim.Optimizer proxyOptimizer, Mixture initial)
        : this(initial, model, modelOptimizer, proxy, proxyOptimizer)
    {
        using var scope = NewDisposeScope();
        proxy.load_state_dict(model.state_dict());
    }

    /// <summary>Pairs the models as they are.</summary>
    internal ScaleBio(Mixture initial, TModel model, optim.Optimizer modelOptimizer, TModel proxy, optim.Optimizer proxyOptimizer)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(modelOptimizer);
        ArgumentNullException.ThrowIfNull(proxy);
        ArgumentNullException.ThrowIfNull(proxyOptimizer);
        ArgumentNullException.ThrowIfNull(initial);
        InfluenceException.ThrowIfAny([.. Problems(model, proxy, initial)]);
        (_model, _modelOptimizer, _proxy, _proxyOptimizer) = (model, modelOptimizer, proxy, proxyOptimizer);
        (_sources, _logits, Mixture) = (initial.Names, [.. initial.Weights.Select(w => Math.Log(w))], initial);
    }

    /// <summary>The penalty alpha. The reference code starts at 0.03 and doubles it after every pass over the data.</summary>
    /// <value>0.03.</value>
    /// <exception cref="InfluenceException">Not a finite number above 0.</exception>
    public double Alpha
    {
        get;
        set => field = Check.Positive(value);
    } = 0.03;

    /// <summary>The step of p; 0 keeps the weights as they are.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double WeightLearningRate
    {
        get;
        set => field = Check.NotNegative(value);
    } = 1;

    /// <summary>The sources' present weights.</summary>
    public Mixture Mixture { get; private set; }

    /// <summary>One step of both models and of the weights.</summary>
    /// <param name="sourceLosses">From a model to one scalar mean loss per source, in the mixture's order; called once with each model, on
    /// the same batches.</param>
    /// <param name="validationLoss">From the model to its scalar validation loss.</param>
    /// <returns>
    /// Contrasts: c_i = l_i(w) - l_i(u) before the step, negative where more of the source would help. Alpha: the penalty; alpha c_i
    /// estimates minus the source's influence on the validation loss. ValidationLoss: of the model, before the step. Mixture: the weights
    /// after the step.
    /// </returns>
    /// <exception cref="InfluenceException">Another number of losses, or losses that are not scalar, not finite or without gradient;
    /// nothing has stepped then.</exception>
    public (IReadOnlyList<double> Contrasts, double Alpha, double ValidationLoss, Mixture Mixture) Step(
        Func<TModel, IReadOnlyList<Tensor>> sourceLosses,
        Func<TModel, Tensor> validationLoss
    )
    {
        ArgumentNullException.ThrowIfNull(sourceLosses);
        ArgumentNullException.ThrowIfNull(validationLoss);
        var weights = Mixture.Weights;
        using (NewDisposeScope())
        {
            // TorchSharp's zero_grad leaves its wrappers of the gradients to the scope.
            _proxyOptimizer.zero_grad();
            _modelOptimizer.zero_grad();
        }

        var (ofProxy, _) = Backward(_proxy, 1, null);
        var (ofModel, validation) = Backward(_model, Alpha, validationLoss);

        // Outside any scope of ours: an optimizer may make state that outlives the step.
        _proxyOptimizer.step();
        _modelOptimizer.step();
        double[] contrasts = [.. ofModel.Zip(ofProxy, (w, u) => w - u)];
        var mean = contrasts.Zip(weights, (c, l) => c * l).Sum();
        for (var i = 0; i < _logits.Length; i++)
        {
            _logits[i] -= WeightLearningRate * Alpha * weights[i] * (contrasts[i] - mean);
        }

        Mixture = new(_sources, Simplex.Softmax(_logits));
        return (contrasts, Alpha, validation, Mixture);

        (double[] Losses, double Validation) Backward(TModel model, double factor, Func<TModel, Tensor>? added)
        {
            using var scope = NewDisposeScope();
            var losses = sourceLosses(model);
            if (losses is null || losses.Count != _sources.Count)
            {
                throw new InfluenceException(
                    $"sourceLosses returns one loss for each of the {_sources.Count} sources, "
                        + $"{Mixture.Quoted(_sources)}; found {losses?.Count ?? 0}."
                );
            }

            double[] values = [.. losses.Select((loss, i) => Value(loss, $"The loss of source \"{_sources[i]}\""))];
            var total = losses.Select((loss, i) => loss.reshape([]) * Kept(factor * weights[i])).Aggregate((a, b) => a + b); // []
            var extra = 0.0;
            if (added is not null)
            {
                var loss = added(model);
                extra = Value(loss, "The validation loss");
                total += loss.reshape([]);
            }

            GuardedBackward.Accumulate(total);
            return (values, extra);
        }
    }

    private static double Value(Tensor loss, string what)
    {
        if (loss is null || loss.numel() != 1)
        {
            throw new InfluenceException(
                $"{what} is one number, the mean over a batch; found "
                    + $"{(loss is null ? "null" : $"[{string.Join(", ", loss.shape)}]")}. Write .mean()."
            );
        }

        if (!loss.requires_grad)
        {
            throw new InfluenceException(
                $"{what} has no gradient: compute it with the model that is passed in, outside no_grad(), with trainable parameters."
            );
        }

        using var scope = NewDisposeScope();
        var value = loss.detach().to_type(ScalarType.Float64).item<double>();
        return double.IsFinite(value)
            ? value
            : throw new InfluenceException(
                $"{what} is {value}; a finite number is expected. Nothing has stepped; lower the learning rates, or Alpha."
            );
    }

    private static IEnumerable<string> Problems(TModel model, TModel proxy, Mixture initial)
    {
        if (ReferenceEquals(model, proxy))
        {
            yield return "The model and its proxy are the same object: make a second model of the same architecture.";
            yield break;
        }

        var (mine, theirs) = (Shapes(model), Shapes(proxy));
        if (!mine.SequenceEqual(theirs))
        {
            yield return "The model and its proxy have the same parameters; only one of them has "
                + $"{InfluenceException.List([.. mine.Except(theirs).Concat(theirs.Except(mine))])}.";
        }

        foreach (var name in initial.Names.Where(name => initial[name] == 0))
        {
            yield return $"The source \"{name}\" starts with weight 0, which it could never leave: leave it out, or start it with more.";
        }
    }

    private static List<string> Shapes(TModel model) =>
        [.. model.named_parameters().Select(p => $"{p.name} [{string.Join(", ", p.parameter.shape)}]")];
}
