namespace Influence.Benchmarks.Shared;

/// <summary>The repository that the program was built in.</summary>
internal static class Repository
{
    /// <summary>A folder of the repository; of the working directory where the program was carried elsewhere.</summary>
    public static string Folder(params string[] path) => Path.Combine([Root(), .. path]);

    private static string Root()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Influence.sln")))
            {
                return folder.FullName;
            }
        }

        return Environment.CurrentDirectory;
    }
}
