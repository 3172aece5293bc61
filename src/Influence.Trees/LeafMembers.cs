namespace Influence.Trees;

/// <summary>The examples of each leaf of one tree.</summary>
internal sealed class LeafMembers
{
    private readonly int[] _starts;
    private readonly int[] _examples;

    private LeafMembers(int[] starts, int[] examples) => (_starts, _examples) = (starts, examples);

    public ReadOnlySpan<int> In(int leaf) => _examples.AsSpan(_starts[leaf], _starts[leaf + 1] - _starts[leaf]);

    public static LeafMembers Of(int[] leaves, int leafCount)
    {
        var starts = new int[leafCount + 1];
        foreach (var leaf in leaves)
        {
            starts[leaf + 1]++;
        }

        for (var leaf = 0; leaf < leafCount; leaf++)
        {
            starts[leaf + 1] += starts[leaf];
        }

        var (next, examples) = (starts[..leafCount], new int[leaves.Length]);
        for (var i = 0; i < leaves.Length; i++)
        {
            examples[next[leaves[i]]++] = i;
        }

        return new LeafMembers(starts, examples);
    }
}
