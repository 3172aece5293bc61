using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Models of fewer than 300 parameters in float64, with losses that the Gauss-Newton matrix can be taken of.</summary>
internal static class SmallModels
{
    public static TheoryData<string> Names => ["mlp", "conv net", "attention", "regression", "two losses"];

    public static ModelCase Make(string name)
    {
        torch.random.manual_seed(5);
        var made = Build(name);
        made.Model.eval();
        return made;
    }

    private static ModelCase Build(string name)
    {
        switch (name)
        {
            case "mlp":
            {
                var model = Mlp(4, 6, 3);
                return new ModelCase(name, model, t => Losses.CrossEntropy(model.call(t[0]), t[1]), Classes([4], []));
            }

            case "conv net":
            {
                var (conv, head) = (nn.Conv2d(1, 3, 3, dtype: float64), nn.Linear(12, 3, dtype: float64));
                var model = new Composite(x => head.call(conv.call(x).sigmoid().flatten(1)), ("conv", conv), ("head", head));
                return new ModelCase(name, model, t => Losses.CrossEntropy(model.call(t[0]), t[1]), Classes([1, 4, 4], []));
            }

            case "attention":
            {
                var model = Attention(4);
                return new ModelCase(
                    name,
                    model,
                    t => Losses.CrossEntropy(model.call(t[0]), t[1], mask: t[1].ne(0), meanOverPositions: true),
                    Classes([3, 4], [3])
                );
            }

            case "regression":
            {
                var model = Mlp(3, 5, 2);
                return new ModelCase(
                    name,
                    model,
                    t => Losses.SquaredError(model.call(t[0]), t[1]),
                    n => [randn([n, 3], dtype: float64), randn([n, 2], dtype: float64)]
                );
            }

            case "two losses":
            {
                // A class and a yes or no from the same outputs, the second with a weight of its own for each example.
                var model = Mlp(4, 5, 4);
                return new ModelCase(
                    name,
                    model,
                    t =>
                    {
                        var z = model.call(t[0]);
                        return Losses.CrossEntropy(z[.., ..3], t[1])
                            + (t[0].select(1, 0).Squared() * Losses.BinaryCrossEntropy(z.select(1, 3), t[1].eq(1)));
                    },
                    Classes([4], [])
                );
            }

            default:
                throw new ArgumentException(name);
        }
    }

    private static Composite Mlp(long inputs, long width, long outputs)
    {
        var (hidden, head) = (nn.Linear(inputs, width, dtype: float64), nn.Linear(width, outputs, dtype: float64));
        return new Composite(x => head.call(hidden.call(x).tanh()), ("hidden", hidden), ("head", head));
    }

    private static Composite Attention(long width)
    {
        Linear Square() => nn.Linear(width, width, dtype: float64);
        var (q, k, v, o, norm, head) = (
            Square(),
            Square(),
            Square(),
            Square(),
            nn.LayerNorm(width, dtype: float64),
            nn.Linear(width, 3, dtype: float64)
        );
        return new Composite(
            x =>
            {
                var y = norm.call(x); // [B, T, E]
                var weights = (q.call(y).matmul(k.call(y).transpose(1, 2)) / Math.Sqrt(width)).softmax(-1);
                return head.call(x + o.call(weights.matmul(v.call(y))));
            },
            ("q", q),
            ("k", k),
            ("v", v),
            ("o", o),
            ("norm", norm),
            ("head", head)
        );
    }

    private static Func<long, Tensor[]> Classes(long[] input, long[] labels) =>
        n => [randn([n, .. input], dtype: float64), randint(0, 3, [n, .. labels])];
}
