using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>Gradient norms of examples, in the order of the run.</summary>
internal sealed class GradientNormLog
{
    private readonly Column<long> _steps = new();
    private readonly Column<long> _ends = new();

    public Appearances Appearances { get; } = new();

    public Column<float> Norms { get; } = new();

    public void Add(int example, float norm)
    {
        Appearances.Add(example);
        Norms.Add(norm);
    }

    /// <summary>Ends one call, made after that many steps.</summary>
    public void EndCall(long steps)
    {
        _steps.Add(steps);
        _ends.Add(Norms.Count);
    }

    public IEnumerable<(string Name, Tensor Value)> ToTensors() =>
        [
            ("norm_example", Appearances.Examples.ToTensor(a => tensor(a))), // [G] int32
            ("norm", Norms.ToTensor(a => tensor(a))), // [G]
            ("norm_steps", _steps.ToTensor(a => tensor(a))), // [calls] int64
            ("norm_ends", _ends.ToTensor(a => tensor(a))), // [calls] int64
        ];

    /// <summary>Takes over what a file has of the first steps.</summary>
    public void AddFrom(IReadOnlyDictionary<string, Tensor> tensors, long steps)
    {
        var at = new Column<long>();
        at.AddFrom(tensors["norm_steps"], tensors["norm_steps"].numel());
        long calls = 0;
        while (calls < at.Count && at[calls] <= steps)
        {
            calls++;
        }

        _steps.AddFrom(tensors["norm_steps"], calls);
        _ends.AddFrom(tensors["norm_ends"], calls);
        var count = calls == 0 ? 0 : _ends[calls - 1];
        var examples = new Column<int>();
        examples.AddFrom(tensors["norm_example"], count);
        for (long i = 0; i < count; i++)
        {
            Appearances.Add(examples[i]);
        }

        Norms.AddFrom(tensors["norm"], count);
    }
}
