namespace Samples.Pretrained.Images;

/// <summary>The files of ResNet-18 that the NuGet package Microsoft.ML.DnnImageFeaturizer.ResNet18 carries.</summary>
internal static class ResNet18Package
{
    /// <summary>The network up to the mean over positions.</summary>
    public static byte[] Model() => Read("ResNet18.onnx");

    /// <summary>What is done to a picture before: the colours in the order blue, green, red, less a mean picture.</summary>
    public static byte[] Preparation() => Read("ResNetPreprocess.onnx");

    private static byte[] Read(string name)
    {
        var path = Path.Combine(AppContext.BaseDirectory, name);
        return File.Exists(path)
            ? File.ReadAllBytes(path)
            : throw new SampleException(
                $"There is no {path}; building the sample copies it from the NuGet package Microsoft.ML.DnnImageFeaturizer.ResNet18."
            );
    }
}
