using System.Threading.Tasks;
using Ani3D.Core;
using UnityEngine;

namespace Ani3D
{
    /// <summary>An imported .ani3d file. Decoded once, on another thread; any number of players share it.</summary>
    [PreferBinarySerialization]
    public sealed class Ani3DAsset : ScriptableObject
    {
        [SerializeField, HideInInspector] byte[] file;
        [SerializeField] string licence;
        [SerializeField] string[] clipNames;
        [SerializeField] float[] clipSeconds;
        [SerializeField] int gaussianCount;
        [SerializeField] int jointCount;
        Task<Bundle> reading;
        byte[] readFrom;

        /// <summary>The source's licence, as the file states it.</summary>
        public string Licence => licence;
        public string[] ClipNames => clipNames;
        /// <summary>Seconds of one loop of each clip.</summary>
        public float[] ClipSeconds => clipSeconds;
        public int GaussianCount => gaussianCount;
        public int JointCount => jointCount;

        /// <summary>The decoded bundle; waits for it where it is not there yet.</summary>
        public Bundle Bundle => Read().GetAwaiter().GetResult();

        /// <summary>True once the bundle is decoded; the first question starts the decoding on another thread.</summary>
        public bool IsLoaded => Read().IsCompleted;

        /// <summary>An asset of a file's bytes, also at run time. Throws InputException.</summary>
        public static Ani3DAsset Create(byte[] file, string name) => Create(file, name, Bundle.Read(file, name));

        /// <summary>The same, decoding on another thread: await it on the main thread.</summary>
        public static async Task<Ani3DAsset> CreateAsync(byte[] file, string name) =>
            Create(file, name, await Task.Run(() => Bundle.Read(file, name)));

        static Ani3DAsset Create(byte[] file, string name, Bundle read)
        {
            var asset = CreateInstance<Ani3DAsset>();
            asset.name = name;
            asset.file = file;
            asset.reading = Task.FromResult(read);
            asset.readFrom = file;
            asset.licence = read.SourceLicence;
            asset.gaussianCount = read.Gaussians.Count;
            asset.jointCount = read.Rig.JointNames.Length;
            asset.clipNames = new string[read.Clips.Length];
            asset.clipSeconds = new float[read.Clips.Length];
            for (int i = 0; i < read.Clips.Length; i++)
            {
                asset.clipNames[i] = read.Clips[i].Name;
                asset.clipSeconds[i] = (float)read.Clips[i].Duration;
            }
            return asset;
        }

        Task<Bundle> Read()
        {
            // Another array: the file was imported again.
            if (reading == null || readFrom != file)
            {
                readFrom = file;
                reading = Start(file, name);
            }
            return reading;
        }

        /// <summary>Without play there is no next frame that would show the figure: then it is read at once.</summary>
        static Task<Bundle> Start(byte[] bytes, string title) =>
            Application.isPlaying ? Task.Run(() => Bundle.Read(bytes, title)) : Task.FromResult(Bundle.Read(bytes, title));
    }
}
