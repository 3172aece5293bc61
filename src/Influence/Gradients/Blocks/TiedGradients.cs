using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The gradients of a weight that several layers share: the sum of what each layer gives, so that cross terms count.
/// </summary>
internal sealed class TiedGradients(IReadOnlyList<BlockGradients> uses) : BlockGradients(uses[0].Examples)
{
    /// <summary>What each layer gives.</summary>
    public IReadOnlyList<BlockGradients> Uses => uses;

    public override Tensor SquaredNorms() => SquaredNorms(Dense());

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
