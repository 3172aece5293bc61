using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Fills a tensor with random numbers in place, or draws by its values.</summary>
    public partial class Tensor
    {
        public Tensor bernoulli_(double p = 0.5, Generator? generator = null) =>
            Aten.bernoulli__float.CallInPlace(this, p, generator);

        public Tensor bernoulli_(Tensor p, Generator? generator = null) =>
            Aten.bernoulli__Tensor.CallInPlace(this, p, generator);

        public Tensor multinomial(long num_samples, bool replacement = false, Generator? generator = null) =>
            Aten.multinomial.Call(this, num_samples, replacement, generator);

        public Tensor uniform_(double from, double to, Generator? generator = null) =>
            Aten.uniform_.CallInPlace(this, from, to, generator);

        public Tensor normal_(double mean = 0, double std = 1, Generator? generator = null) =>
            Aten.normal_.CallInPlace(this, mean, std, generator);
    }
}

internal static partial class Aten
{
    public static readonly Operator bernoulli__Tensor = new("aten::bernoulli_", "Tensor");
    public static readonly Operator bernoulli__float = new("aten::bernoulli_", "float");
    public static readonly Operator multinomial = new("aten::multinomial");
    public static readonly Operator normal_ = new("aten::normal_");
    public static readonly Operator uniform_ = new("aten::uniform_");
}
