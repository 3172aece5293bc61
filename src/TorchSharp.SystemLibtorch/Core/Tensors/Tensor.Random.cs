using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Fills a tensor with random numbers in place, or draws by its values.</summary>
    public partial class Tensor
    {
        public Tensor bernoulli(Generator? generator = null) => Aten.bernoulli.Call(this, generator);

        public Tensor bernoulli_(double p = 0.5, Generator? generator = null) =>
            Aten.bernoulli__float.CallInPlace(this, p, generator);

        public Tensor bernoulli_(Tensor p, Generator? generator = null) =>
            Aten.bernoulli__Tensor.CallInPlace(this, p, generator);

        public Tensor multinomial(long num_samples, bool replacement = false, Generator? generator = null) =>
            Aten.multinomial.Call(this, num_samples, replacement, generator);

        public Tensor poisson(Generator? generator = null) => Aten.poisson.Call(this, generator);

        public Tensor uniform_(double from, double to, Generator? generator = null) =>
            Aten.uniform_.CallInPlace(this, from, to, generator);

        public Tensor normal_(double mean = 0, double std = 1, Generator? generator = null) =>
            Aten.normal_.CallInPlace(this, mean, std, generator);

        public Tensor log_normal_(double mean = 0, double std = 1, Generator? generator = null) =>
            Aten.log_normal_.CallInPlace(this, mean, std, generator);

        public Tensor exponential_(double lambda = 1, Generator? generator = null) =>
            Aten.exponential_.CallInPlace(this, lambda, generator);

        public Tensor geometric_(double p, Generator? generator = null) =>
            Aten.geometric_.CallInPlace(this, p, generator);

        public Tensor cauchy_(double median = 0, double sigma = 1, Generator? generator = null) =>
            Aten.cauchy_.CallInPlace(this, median, sigma, generator);

        public Tensor random_(double from, double to, Generator? generator = null) =>
            Aten.random__from.CallInPlace(this, (long)from, (long)to, generator);
    }
}

internal static partial class Aten
{
    public static readonly Operator bernoulli = new("aten::bernoulli");
    public static readonly Operator bernoulli__Tensor = new("aten::bernoulli_", "Tensor");
    public static readonly Operator bernoulli__float = new("aten::bernoulli_", "float");
    public static readonly Operator cauchy_ = new("aten::cauchy_");
    public static readonly Operator exponential_ = new("aten::exponential_");
    public static readonly Operator geometric_ = new("aten::geometric_");
    public static readonly Operator log_normal_ = new("aten::log_normal_");
    public static readonly Operator multinomial = new("aten::multinomial");
    public static readonly Operator normal_ = new("aten::normal_");
    public static readonly Operator poisson = new("aten::poisson");
    public static readonly Operator random__from = new("aten::random_", "from");
    public static readonly Operator uniform_ = new("aten::uniform_");
}
