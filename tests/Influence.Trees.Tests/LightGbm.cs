using System.Runtime.InteropServices;
using System.Text;

namespace Influence.Trees.Native;

/// <summary>LightGBM's C interface, as far as training a model, saving it as text and predicting need it. The benchmarks compile it
/// too.</summary>
internal static partial class LightGbm
{
    private const string Library = "lib_lightgbm";
    private const int Float32 = 0;
    private const int Float64 = 1;

    /// <summary>What makes a run the same on every machine, and its leaf values those of all examples.</summary>
    public const string Repeatable = "deterministic=true force_row_wise=true num_threads=1 seed=1 verbosity=-1";

    /// <summary>Trains a model and returns its text, with raw scores of some examples as LightGBM predicts them.</summary>
    public static (string Text, double[,] Raw) Train(
        TabularExamples train,
        string parameters,
        int iterations,
        TabularExamples? predict = null
    )
    {
        var settings = $"{parameters} {Repeatable}";
        Check(LGBM_DatasetCreateFromMat(Flat(train), Float64, train.Count, train.FeatureCount, 1, settings, 0, out var data));
        try
        {
            Check(LGBM_DatasetSetField(data, "label", [.. train.Targets.Select(t => (float)t)], train.Count, Float32));
            Check(LGBM_BoosterCreate(data, settings, out var booster));
            try
            {
                var finished = 0;
                for (var t = 0; t < iterations && finished == 0; t++)
                {
                    Check(LGBM_BoosterUpdateOneIter(booster, out finished));
                }

                return (Save(booster), predict is null ? new double[0, 0] : Predict(booster, predict));
            }
            finally
            {
                Check(LGBM_BoosterFree(booster));
            }
        }
        finally
        {
            Check(LGBM_DatasetFree(data));
        }
    }

    private static string Save(nint booster)
    {
        var text = new byte[1 << 16];
        Check(LGBM_BoosterSaveModelToString(booster, 0, -1, 0, text.Length, out var length, text));
        if (length > text.Length)
        {
            text = new byte[length];
            Check(LGBM_BoosterSaveModelToString(booster, 0, -1, 0, text.Length, out length, text));
        }

        return Encoding.UTF8.GetString(text, 0, (int)length - 1);
    }

    private static double[,] Predict(nint booster, TabularExamples examples)
    {
        const int RawScore = 1;
        Check(LGBM_BoosterGetNumClasses(booster, out var classes));
        var raw = new double[examples.Count * classes];
        Check(
            LGBM_BoosterPredictForMat(
                booster,
                Flat(examples),
                Float64,
                examples.Count,
                examples.FeatureCount,
                1,
                RawScore,
                0,
                -1,
                "num_threads=1",
                out _,
                raw
            )
        );
        var result = new double[examples.Count, classes];
        Buffer.BlockCopy(raw, 0, result, 0, raw.Length * sizeof(double));
        return result;
    }

    private static double[] Flat(TabularExamples examples)
    {
        var flat = new double[examples.Count * examples.FeatureCount];
        for (var i = 0; i < flat.Length; i++)
        {
            flat[i] = examples[i / examples.FeatureCount, i % examples.FeatureCount];
        }

        return flat;
    }

    private static void Check(int code)
    {
        if (code != 0)
        {
            throw new InvalidOperationException(Marshal.PtrToStringUTF8(LGBM_GetLastError()));
        }
    }

    [LibraryImport(Library)]
    private static partial nint LGBM_GetLastError();

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LGBM_DatasetCreateFromMat(
        double[] data,
        int type,
        int rows,
        int columns,
        int rowMajor,
        string parameters,
        nint reference,
        out nint dataset
    );

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LGBM_DatasetSetField(nint dataset, string field, float[] values, int count, int type);

    [LibraryImport(Library)]
    private static partial int LGBM_DatasetFree(nint dataset);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LGBM_BoosterCreate(nint dataset, string parameters, out nint booster);

    [LibraryImport(Library)]
    private static partial int LGBM_BoosterUpdateOneIter(nint booster, out int finished);

    [LibraryImport(Library)]
    private static partial int LGBM_BoosterFree(nint booster);

    [LibraryImport(Library)]
    private static partial int LGBM_BoosterGetNumClasses(nint booster, out int classes);

    [LibraryImport(Library)]
    private static partial int LGBM_BoosterSaveModelToString(
        nint booster,
        int start,
        int count,
        int importance,
        long room,
        out long length,
        [In, Out] byte[] text
    );

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LGBM_BoosterPredictForMat(
        nint booster,
        double[] data,
        int type,
        int rows,
        int columns,
        int rowMajor,
        int kind,
        int start,
        int count,
        string parameters,
        out long length,
        [In, Out] double[] result
    );
}
