namespace Influence.Evaluation;

/// <summary>Whether each example was in each of some subsets: one centred column an example.</summary>
internal sealed class MaskColumns
{
    public MaskColumns(Subsets subsets, int[] rows)
    {
        Rows = rows.Length;
        Means = new double[subsets.TrainIds.Count];
        Columns = new double[subsets.TrainIds.Count][];
        for (var i = 0; i < Columns.Length; i++)
        {
            double[] column = [.. rows.Select(j => subsets[j].Contains(i) ? 1.0 : 0.0)];
            Means[i] = column.Average();
            Columns[i] = [.. column.Select(v => v - Means[i])];
        }
    }

    /// <summary>The number of subsets, M.</summary>
    public int Rows { get; }

    /// <summary>The share of the subsets that each example is in.</summary>
    public double[] Means { get; }

    /// <summary>N columns of M.</summary>
    public double[][] Columns { get; }
}
