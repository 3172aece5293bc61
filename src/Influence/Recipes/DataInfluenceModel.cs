using System.Globalization;
using Influence.Gradients;
using Influence.Numerics;
using Influence.Scorers;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// A small model of data influence: fitted to the measured influence of some examples (<see cref="ProbeOracle"/>, or any other score),
/// it predicts that of all others from their features.
/// </summary>
/// <remarks>
/// <para>
/// Features and targets are standardised by the mean and standard deviation of the rows of the fit; a constant column becomes zeros.
/// Features by <see cref="InfluenceFeatures.AsGiven"/> stay as they are.
/// Predictions are put back into the targets' unit. A part of the examples is kept out of the fit, and the rank correlation on it is
/// <see cref="HeldOutCorrelation"/>: how far the predicted order may be trusted. Where that is near zero, probe more examples, or give
/// other features.
/// </para>
/// <para>Owns the fit: dispose it. Reference: Yu, Das, Xiong, "MATES", NeurIPS 2024, section 3.2.</para>
/// </remarks>
public sealed class DataInfluenceModel : IDisposable
{
    private readonly InfluenceFeatures _features;
    private readonly IInfluencePredictor _predictor;
    private readonly string _fingerprint;
    private readonly Tensor _mean;
    private readonly Tensor _scale;
    private readonly (double Mean, double Scale) _target;
    private readonly ScoreMetadata _metadata;

    private DataInfluenceModel(
        InfluenceFeatures features,
        IInfluencePredictor predictor,
        (Tensor Mean, Tensor Scale) columns,
        (double Mean, double Scale) target,
        string name,
        ExampleScores measured
    )
    {
        (_features, _predictor, _fingerprint, _mean, _scale, _target) = (
            features,
            predictor,
            features.Fingerprint(),
            columns.Mean,
            columns.Scale,
            target
        );
        _metadata = new ScoreMetadata
        {
            Estimator = $"data influence model ({name}) of {measured.Metadata.Estimator}",
            Sign = measured.Metadata.Sign,
            Unit = measured.Metadata.Unit,
        };
        Description = $"{name} on {features.Description}: {predictor.Description}";
    }

    /// <summary>The method, its features and what it found.</summary>
    public string Description { get; }

    /// <summary>Spearman's rank correlation of predicted and measured influence on <see cref="HeldOutIds"/>; NaN where one of them is
    /// constant there.</summary>
    public double HeldOutCorrelation { get; private set; } = double.NaN;

    /// <summary>The examples that were kept out of the fit.</summary>
    public IReadOnlyList<long> HeldOutIds { get; private set; } = [];

    /// <summary>Fits it.</summary>
    /// <param name="measured">The influence of some of the examples, by id.</param>
    /// <param name="examples">Has those examples; others are not read for the fit.</param>
    /// <param name="features">What is known of an example.</param>
    /// <param name="regression">How it is learned; null: ridge regression.</param>
    /// <param name="heldOut">The share that is kept out of the fit.</param>
    /// <param name="seed">Of the part that is kept out, and of the regression.</param>
    /// <param name="progress">Told while features are read.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The model; dispose it.</returns>
    /// <exception cref="InfluenceException">
    /// Examples that are not there, fewer than eight, influence that is not finite or is the same for all, or features that are bad or all
    /// constant.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static DataInfluenceModel Fit(
        ExampleScores measured,
        Examples examples,
        InfluenceFeatures features,
        IInfluenceRegression? regression = null,
        double heldOut = 0.2,
        long seed = 0,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(measured);
        ArgumentNullException.ThrowIfNull(examples);
        ArgumentNullException.ThrowIfNull(features);
        regression ??= new RidgeRegression();
        HeldOutPart.Share(heldOut, nameof(heldOut));
        Check(measured, examples);
        using var scope = NewDisposeScope();
        var probed = examples.Only(measured.Ids);
        var table = features.Table(probed, progress, cancellationToken); // [n, d]
        var valueOf = measured.Ids.Zip(measured.Values).ToDictionary(pair => pair.First, pair => pair.Second);
        double[] values = [.. probed.Ids.Select(id => valueOf[id])];
        var (fit, held) = HeldOutPart.Split(values.Length, heldOut, seed, "held-out influence");
        var (x, y) = (table.index_select(0, tensor(fit)), fit.Select(i => values[i]).ToArray()); // [m, d], [m]
        var columns = features.IsStandardised ? Standard(x) : AsTheyAre(x);
        if (!columns.Scale.isfinite().any().item<bool>())
        {
            throw new InfluenceException(
                $"All {x.shape[1]} features are the same for the {x.shape[0]} examples of the fit: they tell no "
                    + "example from another. Give features that differ from example to example."
            );
        }

        var target = (Mean: y.Average(), Scale: Deviation(y));
        if (target.Scale == 0)
        {
            throw new InfluenceException(
                $"The influence of the {y.Length} examples of the fit is "
                    + $"{y[0].ToString(CultureInfo.InvariantCulture)} for all of them: there is nothing to learn. Was the learning rate of "
                    + "the probes zero, or too small for the model's dtype?"
            );
        }

        var predictor =
            regression.Fit(
                (x - columns.Mean) / columns.Scale,
                tensor(y.Select(v => (v - target.Mean) / target.Scale).ToArray()),
                seed,
                cancellationToken
            ) ?? throw new InfluenceException($"{regression.Name} returned null for its fit.");
        var model = new DataInfluenceModel(
            features,
            predictor,
            (columns.Mean.DetachFromDisposeScope(), columns.Scale.DetachFromDisposeScope()),
            target,
            regression.Name,
            measured
        );
        try
        {
            model.HeldOutIds = [.. held.Select(i => probed.Ids[(int)i])];
            var predicted = model.Values(table.index_select(0, tensor(held)), model.HeldOutIds);
            model.HeldOutCorrelation = Ranks.Spearman(predicted, [.. held.Select(i => values[i])]);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Predicts the influence of any examples, batch by batch.</summary>
    /// <param name="pool">N examples, with the features of the fit.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One prediction an example, in the unit of what was measured.</returns>
    /// <exception cref="InfluenceException">Bad input, or gradient features at other weights than those of the fit.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public ExampleScores Predict(
        Examples pool,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(pool);
        InfluenceException.ThrowIfAny([.. pool.Problems("pool")]);
        if (_features.Fingerprint() != _fingerprint)
        {
            throw new InfluenceException(
                "The features are gradients at the model's weights, and the model has other weights now than at "
                    + "the fit. Measure and fit again, or load the checkpoint of the fit."
            );
        }

        var (ids, values) = (new List<long>(), new List<double>());
        _features.Read(
            pool,
            (batch, rows) =>
            {
                ids.AddRange(batch);
                values.AddRange(Values(rows, batch));
            },
            progress,
            cancellationToken
        );
        return new ExampleScores(
            "Predicted influence",
            ids,
            [.. values],
            _metadata with
            {
                Notes = string.Create(
                    CultureInfo.InvariantCulture,
                    $"{Description}; rank correlation with the measured influence of "
                        + $"{HeldOutIds.Count} held-out examples {HeldOutCorrelation:0.000}"
                ),
            }
        );
    }

    /// <summary>Frees the fit.</summary>
    public void Dispose()
    {
        _predictor.Dispose();
        _mean.Dispose();
        _scale.Dispose();
    }

    private double[] Values(Tensor rows, IReadOnlyList<long> ids)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        if (rows.shape[1] != _mean.shape[0])
        {
            throw new InfluenceException($"The fit was on {_mean.shape[0]} features an example; found {rows.shape[1]}.");
        }

        var predicted = _predictor.Predict((rows - _mean) / _scale); // [n]
        if (predicted is null || predicted.dim() != 1 || predicted.shape[0] != rows.shape[0])
        {
            throw new InfluenceException(
                $"A prediction is one number an example, [{rows.shape[0]}]; found "
                    + $"{(predicted is null ? "null" : $"[{string.Join(", ", predicted.shape)}]")}."
            );
        }

        // [n, 1]
        var values = ((predicted.to_type(ScalarType.Float64).cpu() * Kept(_target.Scale)) + Kept(_target.Mean)).reshape(-1, 1);
        FiniteRows.Check(values, ids, "Predictions");
        return values.data<double>().ToArray();
    }

    private static void Check(ExampleScores measured, Examples examples)
    {
        var problems = examples.Problems("examples").ToList();
        if (measured.Count < 8)
        {
            problems.Add($"At least eight measured examples are needed; found {measured.Count}.");
        }

        var missing = problems.Count > 0 ? [] : measured.Ids.Except(examples.Ids).ToList();
        if (missing.Count > 0)
        {
            problems.Add($"Influence was measured on examples that are not there: ids {InfluenceException.List(missing)}.");
        }

        var bad = measured.Ids.Where((_, i) => !double.IsFinite(measured[i])).ToList();
        if (bad.Count > 0)
        {
            problems.Add($"The measured influence of the examples with ids {InfluenceException.List(bad)} is not finite.");
        }

        InfluenceException.ThrowIfAny(problems);
    }

    /// <summary>Means and standard deviations of the columns; a constant one is divided by infinity, which makes it zeros here and in
    /// predictions.</summary>
    private static (Tensor Mean, Tensor Scale) Standard(Tensor x)
    {
        using var scope = NewDisposeScope();
        var mean = x.mean([0L]); // [d]
        var deviation = (x - mean).Squared().mean([0L]).sqrt(); // [d]

        // Equal numbers have a mean that may be off by rounding: a spread of that size is none.
        var constant = deviation.le(mean.abs() * Kept(1e-12));
        return (mean.MoveToOuterDisposeScope(), deviation.masked_fill(constant, Kept(double.PositiveInfinity)).MoveToOuterDisposeScope());
    }

    private static (Tensor Mean, Tensor Scale) AsTheyAre(Tensor x) =>
        (zeros([x.shape[1]], ScalarType.Float64), ones([x.shape[1]], ScalarType.Float64));

    private static double Deviation(double[] values)
    {
        var mean = values.Average();
        var deviation = Math.Sqrt(values.Average(v => (v - mean) * (v - mean)));
        return deviation <= Math.Abs(mean) * 1e-12 ? 0 : deviation;
    }
}
