using System.Globalization;
using Influence.Curvature;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// A Newton step on the few parameters on which the loss of the examples to forget depends (L-CODEC): rows of the weights are perturbed at
/// random, those that explain the forget loss are found by conditional dependence, one after the other as long as each adds something, and
/// <code>step_S = 1 / |K| (H_K,SS + damping I)^-1 (sum over the examples to forget of grad_S L)</code>
/// moves the elements S of the chosen rows alone.
/// </summary>
/// <remarks>
/// <para>
/// A row is what belongs to one output of a layer. The draws move each row along its own gradient on the examples to forget, by a normal
/// number times <see cref="Spread"/> times the row's length; the dependence is <c>T(forget loss, the row's number | those of the rows
/// chosen before)</c> (Azadkia and Chatterjee, 2021), and the choice is greedy. The published code perturbs and reads activations instead.
/// </para>
/// <para>
/// Cost: <see cref="Draws"/> forward passes over the examples to forget, <see cref="Draws"/> squared times <see cref="Candidates"/> a
/// chosen row, and as many products with the curvature of the examples to keep as elements move. Reference: Mehta et al., "Deep Unlearning
/// via Randomized Conditionally Independent Hessians", CVPR 2022.
/// </para>
/// </remarks>
public sealed record LcodecUnlearning : UnlearningMethod
{
    private const int ProductsAtOnce = 256;

    /// <inheritdoc/>
    public override string Name => "L-CODEC";

    /// <summary>The number of perturbations.</summary>
    /// <value>200.</value>
    /// <exception cref="InfluenceException">Less than 20.</exception>
    public int Draws
    {
        get;
        init => field = Check.AtLeast(value, 20);
    } = 200;

    /// <summary>How many rows are looked at: those with the largest gradients on the examples to forget.</summary>
    /// <value>100.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Candidates
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100;

    /// <summary>The standard deviation of a perturbation, as a share of the row's length.</summary>
    /// <value>0.1.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double Spread
    {
        get;
        init => field = Check.Positive(value);
    } = 0.1;

    /// <summary>The most elements that may move; rows are chosen until the next would be too many.</summary>
    /// <value>1,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int MaximumParameters
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1000;

    /// <summary>Which curvature.</summary>
    /// <value><see cref="CurvatureMatrix.GaussNewton"/>.</value>
    public CurvatureMatrix Matrix
    {
        get;
        init => field = Check.Defined(value);
    } = CurvatureMatrix.GaussNewton;

    /// <summary>The damping; relative ones refer to the mean eigenvalue of the chosen elements' curvature.</summary>
    /// <value>0.1 times the mean eigenvalue.</value>
    public Damping Damping { get; init; } = Damping.Default;

    /// <summary>Of the perturbations.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    private protected override void Move(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        var gradient = run.ForgetGradient(); // [P]
        var rows = Rows(run.Layout, gradient);
        if (rows.Count == 0)
        {
            throw new InfluenceException(
                "The loss of the examples to forget depends on no row of at most MaximumParameters = "
                    + $"{MaximumParameters} elements. Write more."
            );
        }

        var chosen = Choose(run, gradient, rows);
        long[] elements = [.. chosen.SelectMany(row => Enumerable.Range(0, (int)row.Count).Select(k => row.Start + k)).Order()];
        run.MoveTo(Step(run, gradient, elements));
        run.Notes.Add(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{chosen.Count} of {rows.Count} rows were chosen, {elements.Length:N0} of {run.Layout.Length:N0} parameters moved"
            )
        );
    }

    /// <summary>The candidates by the length of their gradient, longest first.</summary>
    private List<(long Start, long Count)> Rows(ParameterVector layout, Tensor gradient)
    {
        var found = new List<(long Start, long Count, double Norm)>();
        long at = 0;
        foreach (var part in layout.Parts)
        {
            using var scope = NewDisposeScope();
            var shape = part.Parameter.Value.shape;
            var width = shape.Length == 0 ? 1 : part.Parameter.Count / shape[0];
            if (width <= MaximumParameters)
            {
                var norms = gradient
                    .narrow(0, at, part.Count)
                    .reshape(-1, width)
                    .to_type(ScalarType.Float64)
                    .Squared()
                    .sum(1)
                    .sqrt()
                    .cpu()
                    .data<double>()
                    .ToArray();
                found.AddRange(norms.Select((norm, k) => (at + (k * width), width, norm)));
            }

            at += part.Count;
        }

        return
        [
            .. found.Where(row => row.Norm > 0).OrderByDescending(row => row.Norm).Take(Candidates).Select(row => (row.Start, row.Count)),
        ];
    }

    private List<(long Start, long Count)> Choose(UnlearningRun run, Tensor gradient, List<(long Start, long Count)> rows)
    {
        var directions = rows.Select(row => Direction(run.Start.narrow(0, row.Start, row.Count), gradient.narrow(0, row.Start, row.Count)))
            .ToList();
        var (numbers, losses) = (rows.Select(_ => new double[Draws]).ToArray(), new double[Draws]);
        for (var draw = 0; draw < Draws; draw++)
        {
            using var scope = NewDisposeScope();
            var random = new KeyedRandom(Seed, "perturbed rows", draw);
            var step = zeros_like(run.Start); // [P]
            for (var k = 0; k < rows.Count; k++)
            {
                numbers[k][draw] = MathNet.Numerics.Distributions.Normal.Sample(random, 0, 1);
                using Scalar size = Kept(numbers[k][draw]);
                step.narrow(0, rows[k].Start, rows[k].Count).copy_(directions[k] * size);
            }

            run.MoveTo(step);
            losses[draw] = run.MeanLoss(run.Forget);
        }

        if (losses.Any(loss => !double.IsFinite(loss)))
        {
            throw new InfluenceException(
                "Perturbed weights give losses that are NaN or infinite. Write a smaller Spread than "
                    + $"{Spread.ToString(CultureInfo.InvariantCulture)}."
            );
        }

        return Blanket(rows, numbers, losses);
    }

    /// <summary>Greedy forward selection as long as the next row adds something.</summary>
    private List<(long Start, long Count)> Blanket(List<(long Start, long Count)> rows, double[][] numbers, double[] losses)
    {
        var (ranks, distances) = (ConditionalDependence.RanksOf(losses), new double[Draws, Draws]);
        var (chosen, elements) = (new List<int>(), 0L);
        while (chosen.Count < rows.Count)
        {
            var open = Enumerable.Range(0, rows.Count).Except(chosen).Where(k => elements + rows[k].Count <= MaximumParameters).ToList();
            if (open.Count == 0)
            {
                break;
            }

            var values = open.Select(k => ConditionalDependence.Of(ranks, distances, numbers[k], chosen.Count == 0)).ToArray();
            var best = Array.IndexOf(values, values.Max());
            if (values[best] <= 0 && chosen.Count > 0)
            {
                break;
            }

            chosen.Add(open[best]);
            elements += rows[open[best]].Count;
            ConditionalDependence.Add(distances, numbers[open[best]]);
        }

        return [.. chosen.Select(k => rows[k])];
    }

    /// <summary>A row's unit gradient times <see cref="Spread"/> times the row's length, or of a row of zeros 1.</summary>
    private Tensor Direction(Tensor row, Tensor gradient)
    {
        var (length, norm) = (row.Norm(), gradient.Norm());
        using Scalar factor = Kept(Spread * (length > 0 ? length : 1) / norm);
        return gradient * factor;
    }

    /// <summary>The Newton step on some elements, <c>[P]</c>, in the current scope.</summary>
    private Tensor Step(UnlearningRun run, Tensor gradient, long[] elements) =>
        run.InSession(
            (session, layout) =>
            {
                using var scope = NewDisposeScope();
                var product = CurvatureProduct.Of(Matrix, session, layout);
                product.Try(run.Keep);
                var index = tensor(elements, device: layout.Device); // [S]
                var matrix = zeros([elements.Length, elements.Length], ScalarType.Float64, layout.Device);
                for (var first = 0; first < elements.Length; first += ProductsAtOnce)
                {
                    using var one = NewDisposeScope();
                    var count = Math.Min(ProductsAtOnce, elements.Length - first);
                    var units = zeros([count, layout.Length], layout.Dtype, layout.Device); // [K, P]
                    for (var k = 0; k < count; k++)
                    {
                        units.select(0, k).narrow(0, elements[first + k], 1).fill_(Kept(1));
                    }

                    var products = product.Over(run.Keep, units, run.Reporter.Token, run.Reporter.Add); // [K, P]
                    matrix.narrow(0, first, count).copy_(products.index_select(1, index));
                }

                var (values, vectors) = linalg.eigh((matrix + matrix.t()) * Kept(0.5)); // [S], [S, S]
                var eigenvalues = values.cpu().data<double>().ToArray();
                var inverted = DenseCurvature.Inverted(
                    eigenvalues,
                    Damping.For(eigenvalues.Average()),
                    layout.Dtype,
                    $"{product.Name} of the chosen parameters"
                );
                // [S]
                var sum = gradient.index_select(0, index).to_type(ScalarType.Float64) * Kept((double)run.Forget.Count / run.Keep.Count);
                var move = vectors.mv(vectors.t().mv(sum) * tensor(inverted, device: layout.Device)); // [S]
                var step = zeros([layout.Length], layout.Dtype, layout.Device); // [P]
                step.index_copy_(0, index, move.to_type(layout.Dtype));
                return step.MoveToOuterDisposeScope();
            }
        );
}
