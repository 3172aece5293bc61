static class NativeLightGbm
{
    const string Library = "lib_lightgbm";

    public static string Train(
        double[,] features,
        IReadOnlyList<double> targets,
        string settings,
        int iterations
    )
    {
        var (rows, columns) = (features.GetLength(0), features.GetLength(1));
        double[] flat = [.. features.Cast<double>()];
        Check(LGBM_DatasetCreateFromMat(flat, 1, rows, columns, 1, settings, 0, out var data));
        Check(LGBM_DatasetSetField(data, "label", [.. targets.Select(t => (float)t)], rows, 0));
        Check(LGBM_BoosterCreate(data, settings, out var booster));
        for (var t = 0; t < iterations; t++)
        {
            Check(LGBM_BoosterUpdateOneIter(booster, out _));
        }

        var text = new byte[1 << 20];
        Check(LGBM_BoosterSaveModelToString(booster, 0, -1, 0, text.Length, out var length, text));
        LGBM_BoosterFree(booster);
        LGBM_DatasetFree(data);
        return System.Text.Encoding.UTF8.GetString(text, 0, (int)length - 1);
    }

    static void Check(int code)
    {
        if (code != 0)
        {
            throw new InvalidOperationException($"LightGBM: error {code}");
        }
    }

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_DatasetCreateFromMat(
        double[] data,
        int type,
        int rows,
        int columns,
        int rowMajor,
        string parameters,
        nint reference,
        out nint dataset
    );

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_DatasetSetField(
        nint dataset,
        string field,
        float[] values,
        int count,
        int type
    );

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_DatasetFree(nint dataset);

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_BoosterCreate(nint dataset, string parameters, out nint booster);

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_BoosterUpdateOneIter(nint booster, out int finished);

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_BoosterFree(nint booster);

    [System.Runtime.InteropServices.DllImport(Library)]
    static extern int LGBM_BoosterSaveModelToString(
        nint booster,
        int start,
        int count,
        int importance,
        long room,
        out long length,
        byte[] text
    );
}
