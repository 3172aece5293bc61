using System.Globalization;
using Influence.Distributed;
using Influence.Formats;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// What blocks have gathered on its way to a unit's file, or from one to the sum of all: each block names its parts in one method, which
/// serves both ways.
/// </summary>
/// <param name="dtype">Of gradients.</param>
/// <param name="device">Where a fit lives.</param>
internal abstract class FitState(ScalarType dtype, Device device)
{
    private readonly HashSet<object> _seen = [];

    public ScalarType Dtype => dtype;

    protected Device Device => device;

    protected string Prefix { get; private set; } = string.Empty;

    /// <summary>The block that the next names are of.</summary>
    public void Enter(int block) => Prefix = string.Create(CultureInfo.InvariantCulture, $"block.{block}.");

    /// <summary>A sum: written, or added to.</summary>
    public abstract void Sum(string name, ref Tensor? sum);

    /// <summary>A count: written, or added to.</summary>
    public abstract void Count(string name, ref double count);

    /// <summary>Numbers that are no sum: written, or taken.</summary>
    public abstract void Values(string name, ref Tensor? values);

    /// <summary>A basis: written, or taken.</summary>
    public abstract void Basis(string name, ref FactorBasis? basis);

    /// <summary>Whether it is this block that names the parts of something that blocks share.</summary>
    /// <param name="shared">What is shared.</param>
    /// <param name="name">The beginning of its parts' names.</param>
    public bool Owns(object shared, string name)
    {
        var first = _seen.Add(shared);
        Check(first, name);
        return first;
    }

    protected virtual void Check(bool first, string name) { }

    /// <summary>Gathers what is to be written.</summary>
    public sealed class Writer(ScalarType dtype, Device device) : FitState(dtype, device)
    {
        private readonly List<(string Name, Tensor Value)> _tensors = [];

        /// <summary>The parts; sums and bases stay the fit's.</summary>
        public IReadOnlyList<(string Name, Tensor Value)> Tensors => _tensors;

        public override void Sum(string name, ref Tensor? sum) => Values(name, ref sum);

        public override void Count(string name, ref double count) => _tensors.Add((Prefix + name, tensor(new[] { count })));

        public override void Values(string name, ref Tensor? values)
        {
            if (values is not null)
            {
                _tensors.Add((Prefix + name, values));
            }
        }

        public override void Basis(string name, ref FactorBasis? basis)
        {
            _tensors.Add(($"{Prefix}{name}.values", basis!.Values));
            _tensors.AddRange(
                basis.Vectors.Select((block, b) => (string.Create(CultureInfo.InvariantCulture, $"{Prefix}{name}.vectors.{b}"), block))
            );
        }
    }

    /// <summary>Takes what a file holds; what it adds is in float64.</summary>
    public sealed class Reader(ScalarType dtype, Device device, WorkFolder folder, SafetensorsFile file, string name)
        : FitState(dtype, device)
    {
        /// <summary>Whether the file has anything of a block.</summary>
        public bool Has(int block)
        {
            Enter(block);
            return file.Entries.Keys.Any(key => key.StartsWith(Prefix, StringComparison.Ordinal));
        }

        public override void Sum(string name, ref Tensor? sum)
        {
            if (Read(name) is not { } own)
            {
                return;
            }

            if (sum is null)
            {
                sum = own.DetachFromDisposeScope();
            }
            else
            {
                sum.add_(own);
            }
        }

        public override void Count(string name, ref double count) => count += Read(name) is { } own ? own.cpu().item<double>() : 0;

        public override void Values(string name, ref Tensor? values)
        {
            values?.Dispose();
            values = Read(name)?.DetachFromDisposeScope();
        }

        public override void Basis(string name, ref FactorBasis? basis)
        {
            var vectors = new List<Tensor>();
            while (Read(string.Create(CultureInfo.InvariantCulture, $"{name}.vectors.{vectors.Count}")) is { } block)
            {
                vectors.Add(block.DetachFromDisposeScope());
            }

            basis = new FactorBasis([.. vectors], Read($"{name}.values")!.cpu().DetachFromDisposeScope());
        }

        /// <summary>Layers that share an input in one unit share it in all.</summary>
        protected override void Check(bool first, string name)
        {
            if (first != file.Entries.Keys.Any(key => key.StartsWith(Prefix + name, StringComparison.Ordinal)))
            {
                throw new InfluenceException(
                    "Layers that saw the same input in the first examples see different ones in others. Fit them in calls of their own, "
                        + "by Layers = LayerSelection.Where(...)."
                );
            }
        }

        private Tensor? Read(string part) =>
            file.Entries.ContainsKey(Prefix + part) ? folder.Read(file, name, Prefix + part).to(Device) : null;
    }

    /// <summary>Takes down the shapes of sums.</summary>
    public sealed class Shapes(ScalarType dtype, Device device) : FitState(dtype, device)
    {
        private readonly Dictionary<string, long[]> _shapes = [];

        public Device Of => Device;

        /// <summary>The shape of a sum of the block that names parts; null where there is none.</summary>
        public long[]? this[string name] => _shapes.GetValueOrDefault(name);

        /// <summary>The sizes of the symmetric matrices among them.</summary>
        public IEnumerable<long> Decomposed() =>
            _shapes
                .Where(pair => !pair.Key.Contains(".squares", StringComparison.Ordinal) && pair.Value.Length >= 2)
                .SelectMany(pair => Enumerable.Repeat(pair.Value[^1], pair.Value.Length == 3 ? (int)pair.Value[0] : 1));

        public override void Sum(string name, ref Tensor? sum)
        {
            if (sum is not null)
            {
                _shapes[Prefix + name] = sum.shape;
            }
        }

        public override void Count(string name, ref double count) { }

        public override void Values(string name, ref Tensor? values) { }

        public override void Basis(string name, ref FactorBasis? basis) { }
    }

    /// <summary>Gives the unit matrix for every basis.</summary>
    public sealed class StandIn(Shapes shapes) : FitState(shapes.Dtype, shapes.Of)
    {
        public override void Sum(string name, ref Tensor? sum) { }

        public override void Count(string name, ref double count) { }

        public override void Values(string name, ref Tensor? values)
        {
            const string Vectors = ".vectors";
            if (name.EndsWith(Vectors, StringComparison.Ordinal) && shapes[Prefix + name[..^Vectors.Length]] is { } shape)
            {
                values?.Dispose();
                values = eye(shape[^1], dtype: Dtype, device: Device).expand(shape).contiguous().DetachFromDisposeScope();
            }
        }

        public override void Basis(string name, ref FactorBasis? basis)
        {
            basis?.Dispose();
            var vectors = new List<Tensor>();
            while (shapes[FormattableString.Invariant($"{Prefix}{name}.{vectors.Count}")] is { } shape)
            {
                vectors.Add(eye(shape[0], dtype: Dtype, device: Device).DetachFromDisposeScope());
            }

            basis = new FactorBasis(
                [.. vectors],
                zeros([vectors.Sum(block => block.shape[0])], ScalarType.Float64).DetachFromDisposeScope()
            );
        }
    }
}
