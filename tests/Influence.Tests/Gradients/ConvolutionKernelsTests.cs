using Influence.Gradients;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

public class ConvolutionKernelsTests
{
    /// <summary>The tests' process takes kernels that are right everywhere; in float64 there is no other.</summary>
    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void NothingIsSaidWhereTheGradientsAreRight(ScalarType dtype) => Assert.Null(ConvolutionKernels.Fault(dtype, DeviceType.CPU));

    [Fact]
    public void TryingThemTakesNothingFromTheCallersRandomNumbers()
    {
        random.manual_seed(3);
        using var expected = randn(4);
        random.manual_seed(3);
        _ = ConvolutionKernels.Fault(ScalarType.Float32, DeviceType.CPU);
        using var found = randn(4);

        Assert.Equal(expected.data<float>().ToArray(), found.data<float>().ToArray());
    }
}
