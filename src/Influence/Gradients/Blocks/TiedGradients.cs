using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The gradients of a weight that several layers share: the sum of what each layer gives, so that cross terms count.
/// </summary>
internal sealed class TiedGradients(IReadOnlyList<BlockGradients> uses) : BlockGradients(uses[0].Examples)
{
    /// <summary>What each layer gives.</summary>
    public IReadOnlyList<BlockGradients> Uses => uses;

    public override bool HasBias => false;

    public override bool CanBeCut => uses.All(use => use.CanBeCut);

    public override FactorShape? HeadOfTable =>
        uses.All(use => use.TableUse != TableUse.None) && uses.Any(use => use.TableUse == TableUse.Embedding)
            ? uses.FirstOrDefault(use => use.TableUse == TableUse.Head)?.Shape
            : null;

    public override IEnumerable<(Tensor Activation, double Positions)> CountedInputs() => uses.SelectMany(use => use.CountedInputs());

    /// <summary>Each layer's gradients are rotated once; their sums are written out for some examples at a time.</summary>
    public override void AddTableSquares(Tensor sums, Func<Tensor, Tensor> rotate, long numbersAtOnce)
    {
        using var scope = NewDisposeScope();
        List<Func<Tensor?, long, long, Tensor>> tables =
        [
            .. uses.OrderBy(use => use.TableUse == TableUse.Head ? 0 : 1).Select(use => use.RotatedTables(rotate, sums.shape[0])),
        ];
        var atOnce = Math.Max(1, numbersAtOnce / sums.numel());
        for (long start = 0; start < Examples; start += atOnce)
        {
            using var chunk = NewDisposeScope();
            var count = Math.Min(atOnce, Examples - start);
            var spectrum = tables.Aggregate((Tensor?)null, (sum, of) => of(sum, start, count))!; // [count, V, D]
            sums.add_(spectrum.Squared().sum(0L).to_type(ScalarType.Float64));
        }
    }

    public override double NumbersAtWork => 2 * DenseSize;

    public override double NumbersToWrite(double parameters) => CanBeCut ? 2 * parameters : 1;

    public override double NumbersToSketch(double parameters) => uses.Max(use => use.NumbersToSketch(parameters));

    public override double NumbersToProject(PartProjection[] projections) => uses.Max(use => use.NumbersToProject(projections));

    // What is linear in the gradient is the sum over the uses.
    public override Tensor[] Sum(Tensor? weights = null, Tensor? chosen = null)
    {
        var total = uses[0].Sum(weights, chosen);
        foreach (var use in uses.Skip(1))
        {
            total[0].add_(use.Sum(weights, chosen)[0]);
        }

        return total;
    }

    public override void AddProducts(Tensor products, Tensor[] queries, ProductArithmetic? arithmetic = null)
    {
        foreach (var use in uses)
        {
            use.AddProducts(products, queries, arithmetic);
        }
    }

    public override void AddSketch(Tensor rows, (Tensor Column, Tensor? Sign)[] columns)
    {
        foreach (var use in uses)
        {
            using var scope = NewDisposeScope();
            use.AddSketch(rows, columns);
            use.Release();
        }
    }

    public override void AddProjected(Tensor rows, PartProjection[] projections)
    {
        foreach (var use in uses)
        {
            using var scope = NewDisposeScope();
            use.AddProjected(rows, projections);
            use.Release();
        }
    }

    public override void Release()
    {
        base.Release();
        foreach (var use in uses)
        {
            use.Release();
        }
    }

    protected override Tensor[] MakeDense()
    {
        var sum = uses[0].Dense()[0].clone();
        uses[0].Release();
        foreach (var use in uses.Skip(1))
        {
            sum.add_(use.Dense()[0]);
            use.Release();
        }

        return [sum];
    }
}
